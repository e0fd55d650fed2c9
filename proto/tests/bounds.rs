//! Every bound, by example: what is written over a good spec, and the one violation that follows.

use kindred_proto::{
    job_spec::{self, JobSpec, SpecError},
    recipe::{BatchNorm, ColorSpace, RandAugment, Rule, View},
};

const SPEC: &str = "
name: first
ranks: 2
recipe:
  data: {fashion_mnist: {}}
  method: {sce: {}}
";

const FOLDER: &str = "recipe.data={image_folder: {train: images}}";

fn check(overrides: &[&str]) -> Result<JobSpec, SpecError> {
    let overrides: Vec<_> = overrides.iter().map(|&text| text.to_owned()).collect();
    JobSpec::check(&job_spec::from_yaml(SPEC, &overrides)?)
}

fn refusal(overrides: &[&str]) -> String {
    check(overrides).expect_err(&format!("{overrides:?} passes")).to_string()
}

#[test]
fn a_value_out_of_bounds_is_named_with_its_bound() {
    let cases = [
        ("name=First", r#"name: must be 1 to 63 lower-case letters, digits and inner hyphens, not "First""#),
        ("name=-a", r#"name: must be 1 to 63 lower-case letters, digits and inner hyphens, not "-a""#),
        ("ranks=0", "ranks: must be at least 1 and at most 65536, not 0"),
        ("min_ranks=3", "min_ranks: must be at least 1 and at most 2, not 3"),
        ("max_ranks=1", "max_ranks: must be at least 2 and at most 65536, not 1"),
        ("priority=high", r#"priority: must be a whole number, which may be negative, not "high""#),
        ("priority=101", "priority: must be at least -100 and at most 100, not 101"),
        (
            "queue=My queue",
            r#"queue: must be 1 to 63 lower-case letters, digits and inner hyphens, not "My queue""#,
        ),
        ("node_selector={'': a}", r#"node_selector: must have keys of 1 to 63 bytes, not """#),
        (
            "device_memory_bytes=2000000000000000",
            "device_memory_bytes: must be at least 0 and at most 1125899906842624, not 2000000000000000",
        ),
        ("retry.no_progress=0", "retry.no_progress: must be at least 1 and at most 1000, not 0"),
        ("recipe.data.limit=0", "recipe.data.limit: must be at least 1, not 0"),
        ("recipe.data.limit=255", "recipe.data.limit: must be at least 256, the images of one step, not 255"),
        ("recipe.data.mean=[1.5]", "recipe.data.mean: must be at least 0.0 and at most 1.0, not 1.5"),
        (
            "recipe.data.max_damaged=2",
            "recipe.data.max_damaged: must be at least 0.0 and at most 1.0, not 2.0",
        ),
        (
            "recipe.data={webdataset: {train: shards, channels: 2}}",
            "recipe.data.webdataset.channels: must be 1 (grey) or 3 (colour), not 2",
        ),
        (
            "recipe.data={image_folder: {train: images, channels: 0}}",
            "recipe.data.image_folder.channels: must be 1 (grey) or 3 (colour), not 0",
        ),
        ("recipe.data.std=[0]", "recipe.data.std: must be above 0.0 and at most 1.0, not 0.0"),
        ("recipe.data.std=[1, 1, 1]", "recipe.data.std: must hold 1 value or 1, one per channel, not 3"),
        (
            "recipe.encoder.resnet.split_channels=1",
            "recipe.encoder.resnet.split_channels: must be at least 0 and at most 0, not 1",
        ),
        (
            "recipe.method={cmc: {}}",
            "recipe.method.cmc: needs colour images and a ResNet in two halves: see `encoder.resnet.split_channels`; \
             recipe.views: must stay in the images' own channels: grey images have no other colour space",
        ),
        (
            "recipe.method={sce: {local_views: 1, symmetric: false}}",
            "recipe.method.sce.symmetric: must be true with `local_views`: both global views are targets",
        ),
        (
            "recipe.method={sane: {mixup_group_size: 3}}",
            "recipe.method.sane.mixup_group_size: must divide the batch of a rank, 128 images, not be 3",
        ),
        (
            "recipe.method={isd: {projector: {identity: true, out_dim: 8}}}",
            "recipe.method.isd.projector.identity: is true although other fields ask for layers: leave it or them out",
        ),
        (
            "recipe.data.fashion_mnist.root=''",
            "recipe.data.fashion_mnist.root: must name a folder, not be empty",
        ),
        (
            "recipe.data.subset={}",
            "recipe.data.subset: names no rule: give `long_tail: {}`, `large_and_rare: {}` or `balanced: {share: 0.1}`",
        ),
        (
            "recipe.data.subset.balanced.share=2",
            "recipe.data.subset.balanced.share: must be above 0.0 and at most 1.0, not 2.0",
        ),
        (
            "recipe.data={stl10: {train: unlabelled}, subset: {long_tail: {}}}",
            "recipe.data.subset: chooses by labels, which not all of these images have: leave it out",
        ),
        (
            "recipe.views=[{jigsaw: {}, crop: {size: 32}}, {}]",
            "recipe.views[0].jigsaw.grid: must divide the crop's size, 32 pixels, not be 3",
        ),
        (
            "recipe.views=[{jigsaw: {patch_size: 12}}, {}]",
            "recipe.views[0].jigsaw.patch_size: must be at least 1 and at most 11, not 12",
        ),
        (
            "recipe.views=[{color_space: lab}, {}]",
            "recipe.views: must stay in the images' own channels: grey images have no other colour space",
        ),
        (
            "recipe.views=[{std: [0]}, {}]",
            "recipe.views[0].std: must be above 0.0 and at most 1000.0, not 0.0",
        ),
        (
            "recipe.views=[{rand_augment: {ops: [{op: rotate, to: 200}]}}, {}]",
            "recipe.views[0].rand_augment.ops[0].to: must be at least 0.0 and at most 180.0, not 200.0",
        ),
        (
            "recipe.views=[{rand_augment: {ops: [{op: invert, to: 1}]}}, {}]",
            "recipe.views[0].rand_augment.ops[0].from: has no meaning for an operation without argument: \
             leave `from` and `to` out",
        ),
        (
            "recipe.views=[{rand_augment: {ops: [{}]}}, {}]",
            "recipe.views[0].rand_augment.ops[0].op: names no operation: give one, as in `op: rotate`",
        ),
        (
            "recipe.views=[{rand_augment: {uniform: {min: 7, max: 3}}}, {}]",
            "recipe.views[0].rand_augment.uniform.min: must be at most max (3), not 7",
        ),
        ("recipe.views=[{}]", "recipe.views: must be the method's 2, or none for its published ones, not 1"),
        (
            "recipe.encoder.resnet.depth=20",
            "recipe.encoder.resnet.depth: must be 18, 34, 50, 101 or 152, not 20",
        ),
        (
            "recipe.encoder.vit={width: 100}",
            "recipe.encoder.vit.width: must be a multiple of 4 and of `heads`, 12, not 100",
        ),
        (
            "recipe.encoder.vit={patch_size: 5}",
            "recipe.views[0].crop.size: must be a multiple of the encoder's patch, 5 pixels, not 28; \
             recipe.views[1].crop.size: must be a multiple of the encoder's patch, 5 pixels, not 28",
        ),
        (
            "recipe.encoder.vit.batch_norm.group_size=96",
            "recipe.encoder.vit.batch_norm.group_size: must divide the 128 images that a rank passes at once, not be 96",
        ),
        (
            "recipe.encoder.resnet.width=0",
            "recipe.encoder.resnet.width: must be at least 1 and at most 1024, not 0",
        ),
        (
            "recipe.encoder.resnet.batch_norm.group_size=96",
            "recipe.encoder.resnet.batch_norm.group_size: must divide the 128 images that a rank passes at once, not be 96",
        ),
        (
            "recipe.encoder.resnet.batch_norm={group_size: 64, frozen: true}",
            "recipe.encoder.resnet.batch_norm.group_size: has no meaning where `frozen` is true: \
             leave one of the two out",
        ),
        (
            "recipe.method.sce.target_temperature=0.2",
            "recipe.method.sce.target_temperature: must be at most temperature (0.1), not 0.2",
        ),
        (
            "recipe.method.sce.lambda=1.1",
            "recipe.method.sce.lambda: must be at least 0.0 and at most 1.0, not 1.1",
        ),
        (
            "recipe.method.sce.queue_size=255",
            "recipe.method.sce.queue_size: must be at least 256, the keys of one step, not 255",
        ),
        (
            "recipe.optimizer.sgd.lr=0",
            "recipe.optimizer.sgd.lr: must be above 0.0 and at most 10000.0, not 0.0",
        ),
        (
            "recipe.optimizer.sgd.momentum=1",
            "recipe.optimizer.sgd.momentum: must be at least 0.0 and below 1.0, not 1.0",
        ),
        (
            "recipe.optimizer.sgd={momentum: 0, nesterov: true}",
            "recipe.optimizer.sgd.nesterov: needs a momentum above 0: raise `momentum` or leave it out",
        ),
        (
            "recipe.optimizer.lars.trust_coefficient=0",
            "recipe.optimizer.lars.trust_coefficient: must be above 0.0 and at most 1.0, not 0.0",
        ),
        (
            "recipe.optimizer.adamw.beta2=1",
            "recipe.optimizer.adamw.beta2: must be at least 0.0 and below 1.0, not 1.0",
        ),
        (
            "recipe.optimizer.groups=[{lr_scale: 2}]",
            "recipe.optimizer.groups[0].prefix: must be 1 to 256 bytes that names begin with, as `online.predictor.`",
        ),
        (
            "recipe.schedule.cosine={per_epoch: false, first_epoch: 1}",
            "recipe.schedule.cosine.first_epoch: has no meaning where `per_epoch` is false: leave it out",
        ),
        (
            "recipe.schedule.warmup_epochs=201",
            "recipe.schedule.warmup_epochs: must be at least 0.0 and at most 200.0, not 201.0",
        ),
        (
            "recipe.schedule.steps.milestones=[120, 60]",
            "recipe.schedule.steps.milestones: must be growing epochs from 1 on, not [120, 60]",
        ),
        ("recipe.training.epochs=0", "recipe.training.epochs: must be at least 1 and at most 1000000, not 0"),
        (
            "recipe.training.global_batch=255",
            "recipe.training.global_batch: 255 images do not divide by 2 ranks: use 254 or 256",
        ),
        (
            "recipe.training.accumulate_steps=3",
            "recipe.training.accumulate_steps: must divide the batch of a rank, 128 images, not be 3",
        ),
        (
            "recipe.training.clip_norm=0",
            "recipe.training.clip_norm: must be above 0.0 and at most 1000000000.0, not 0.0",
        ),
        (
            "recipe.checkpoint={every_steps: 10, every_epochs: 1}",
            "recipe.checkpoint.every_epochs: has no meaning beside `every_steps`: leave one of the two out",
        ),
        (
            "recipe.checkpoint={every_steps: 10, derived: {}}",
            "recipe.checkpoint.derived: has no meaning beside `every_steps` or `every_epochs`: leave those out",
        ),
        (
            "recipe.checkpoint.derived.hours_between_losses=0",
            "recipe.checkpoint.derived.hours_between_losses: must be above 0.0 and at most 1000000.0, not 0.0",
        ),
        (
            "recipe.evaluation.knn.bank_limit=19",
            "recipe.evaluation.knn.k: must be at most 19, the images of the bank, not 20",
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(refusal(&[given]), expected);
    }
}

#[test]
fn the_keys_of_both_directions_must_fit_the_queue() {
    let expected = "recipe.method.sce.queue_size: must be at least 512, the keys of one step, not 511";
    assert_eq!(refusal(&["recipe.method.sce={symmetric: true, queue_size: 511}"]), expected);
    check(&["recipe.method.sce={symmetric: true, queue_size: 513}"]).unwrap();
}

#[test]
fn an_evaluation_needs_labels() {
    let expected = "recipe.evaluation.linear.enabled: needs labelled images: \
                    give `data.image_folder.test` (of STL-10 the labelled part), or leave it out";
    assert_eq!(refusal(&[FOLDER, "recipe.evaluation.linear.enabled=true"]), expected);
    let unlabelled = check(&[FOLDER]).unwrap().recipe.evaluation;
    assert!(unlabelled.knn.is_none() && unlabelled.linear.is_none());
}

#[test]
fn all_violations_are_listed_at_once() {
    let error = check(&["ranks=0", "recipe.training.epochs=0", "recipe.views[0].crop.size=4"]);
    assert_eq!(error.unwrap_err().to_string(), "recipe.views[0]: is not there: 0 are given");
    let error =
        check(&["ranks=0", "recipe.training.epochs=0", "recipe.views=[{crop: {size: 4}}, {}]"]).unwrap_err();
    let fields: Vec<_> = error.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["ranks", "recipe.training.epochs", "recipe.views[0].crop.size"]);
}

#[test]
fn an_empty_spec_says_what_it_needs() {
    let error = JobSpec::check(&Default::default()).unwrap_err();
    let fields: Vec<_> = error.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["name", "recipe.data", "recipe.method"]);
}

#[test]
fn a_value_of_an_enum_that_is_not_known_is_refused() {
    let mut wire = job_spec::from_yaml(SPEC, &[]).unwrap();
    wire.device = 99;
    let error = JobSpec::check(&wire).unwrap_err();
    assert_eq!(error.to_string(), "device: 99 is not a value that this version knows");
}

#[test]
fn steps_are_full_batches() {
    let spec = check(&["recipe.training={epochs: 3, global_batch: 100, max_steps: 7}"]).unwrap();
    let steps = spec.steps(399).unwrap();
    assert_eq!((steps.per_epoch, steps.total, steps.schedule_span), (3, 7, 9));
    assert_eq!(spec.batch_per_rank(), 50);
    assert_eq!(
        spec.steps(99).unwrap_err().to_string(),
        "recipe.training.global_batch: must be at most 99, the images of the data set, not 100"
    );
}

#[test]
fn a_job_runs_with_any_number_of_ranks_that_shares_its_batch() {
    let sizes = |overrides: &[&str]| {
        let spec = check(overrides).unwrap();
        (spec.world_sizes().iter().map(|size| size.0).collect::<Vec<_>>(), spec.recipe.encoder.batch_norm)
    };
    let groups = |size| BatchNorm::Groups { size };
    assert_eq!(sizes(&[]), (vec![2], groups(128)));
    let elastic = ["min_ranks=1", "max_ranks=5", "recipe.training.global_batch=192"];
    assert_eq!(sizes(&elastic), (vec![1, 2, 3, 4], groups(16)), "what divides 192, 96, 64 and 48");
    let accumulated = [&elastic[..], &["recipe.training.accumulate_steps=4"]].concat();
    assert_eq!(sizes(&accumulated), (vec![1, 2, 3, 4], groups(4)));
    let groups = "recipe.encoder.resnet.batch_norm.group_size";
    assert_eq!(
        refusal(&["max_ranks=4", "recipe.training.global_batch=256", &format!("{groups}=128")]),
        format!("{groups}: must divide the 64 images that a rank passes at once, not be 128")
    );
}

#[test]
fn a_short_job_warms_up_for_a_tenth_of_it() {
    let warmup = |epochs: u32| {
        let spec = check(&[&format!("recipe.training.epochs={epochs}")]).unwrap();
        spec.recipe.schedule.warmup_epochs
    };
    assert_eq!((warmup(200), warmup(6)), (5.0, 0.6));
}

#[test]
fn another_rule_than_the_sources_brings_its_own_defaults() {
    let optimizer = |overrides: &[&str]| check(overrides).unwrap().recipe.optimizer;
    let Rule::Lars(lars) = optimizer(&[FOLDER]).rule else { panic!("SCE trains by LARS on ImageNet") };
    assert_eq!((lars.lr, lars.weight_decay), (0.3, 1e-6));
    let sgd = optimizer(&[FOLDER, "recipe.optimizer.sgd={}"]);
    assert!(!sgd.exclude_1d);
    let Rule::Sgd(sgd) = sgd.rule else { panic!("asked for SGD") };
    assert_eq!((sgd.lr, sgd.weight_decay), (0.03, 1e-4));
    let adamw = optimizer(&["recipe.optimizer.adamw={}", "recipe.training.global_batch=1024"]);
    assert_eq!(adamw.lr(), 6e-4);
}

#[test]
fn no_predictor_can_be_asked_for() {
    let folder = check(&[FOLDER]).unwrap();
    let kindred_proto::recipe::Method::Sce(sce) = folder.recipe.method else { panic!("asked for SCE") };
    assert_eq!(sce.predictor.unwrap().hidden_dim, 4096);
    let without = check(&[FOLDER, "recipe.method.sce.predictor.hidden_dim=0"]).unwrap();
    let kindred_proto::recipe::Method::Sce(sce) = without.recipe.method else { panic!("asked for SCE") };
    assert_eq!(sce.predictor, None);
}

#[test]
fn the_crop_is_that_of_the_data_and_the_stem() {
    let sizes = |data: &str| {
        ["cifar", "imagenet"].map(|stem| {
            let stem = format!("recipe.encoder.resnet.stem={stem}");
            check(&[&format!("recipe.data={{{data}}}"), &stem]).unwrap().recipe.views[0].crop.size
        })
    };
    assert_eq!(sizes("fashion_mnist: {}"), [28, 224]);
    assert_eq!(sizes("cifar10: {}"), [32, 224]);
    assert_eq!(sizes("cifar100: {}"), [32, 224]);
    assert_eq!(sizes("stl10: {}"), [64, 96]);
    assert_eq!(sizes("image_folder: {train: images}"), [32, 224]);
    assert_eq!(sizes("webdataset: {train: shards}"), [32, 224]);
}

#[test]
fn rand_augment_is_infomins_and_a_jigsaw_fits_the_image() {
    let views = "recipe.views=[{rand_augment: {}}, {jigsaw: {}, color_space: lab}]";
    let views = check(&[FOLDER, views]).unwrap().recipe.views;
    assert_eq!(views[0].rand_augment, Some(RandAugment::infomin()));
    assert_eq!(
        views[1],
        View { horizontal_flip_probability: 0.0, ..View::jigsaw(224).in_space(ColorSpace::Lab) }
    );
}

#[test]
fn every_published_view_is_within_the_bounds() {
    let published = |size: u32| {
        let pairs = [View::byol(size), View::moco_v3(size), View::sce_small(size)];
        let many = [View::sce_multi_crop(size), View::swav_multi_crop(size)];
        let single = [
            View::moco_v1(size),
            View::simclr(size, 0.5),
            View::infomin_d(size),
            View::cmc(size),
            View::cmc_v2(size),
            View::clsa_strong(size),
            View::jigsaw(size),
        ];
        [pairs.concat(), many.concat(), single.to_vec()].concat()
    };
    let mut spec = check(&[FOLDER]).unwrap();
    for view in [28, 32, 64, 96, 224].into_iter().flat_map(published) {
        spec.recipe.views = vec![view.clone(), view];
        assert_eq!(JobSpec::check(&spec.to_wire()), Ok(spec.clone()));
    }
}
