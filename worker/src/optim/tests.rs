//! Rules and groups against loops over numbers.

use kindred_bridge::clear_grads;
use kindred_proto::recipe::{self, AdamW, Lars, ParameterGroup, Rule, Sgd};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::*;

const SGD: Rule = Rule::Sgd(Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov: false });
const NESTEROV: Rule = Rule::Sgd(Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov: true });
const LARS: Rule = Rule::Lars(Lars { lr: 4.8, momentum: 0.9, weight_decay: 0.01, trust_coefficient: 0.001 });
const ADAMW: Rule =
    Rule::AdamW(AdamW { lr: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 });
const RULES: [Rule; 4] = [SGD, NESTEROV, LARS, ADAMW];

fn recipe(rule: &Rule, exclude_1d: bool) -> recipe::Optimizer {
    recipe::Optimizer { rule: rule.clone(), exclude_1d, groups: vec![] }
}

/// A matrix, a vector and a matrix of zeros, in f64.
struct Toy {
    names: [&'static str; 3],
    parameters: [Tensor; 3],
}

impl Toy {
    fn new() -> Self {
        let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
        let w = Tensor::from_slice(&[1.0, -2.0, 0.5, 3.0, 0.25, -0.75]).view([2, 3]);
        let b = Tensor::from_slice(&[0.5, -1.5]);
        let zeros = Tensor::zeros([2, 2], (Kind::Double, Device::Cpu));
        let names = ["online.encoder.w", "online.encoder.b", "online.predictor.w"];
        Self { names, parameters: [leaf(w), leaf(b), leaf(zeros)] }
    }

    fn named(&self) -> Vec<(String, Tensor)> {
        let names = self.names.iter().map(|name| (*name).to_owned());
        names.zip(self.parameters.iter().map(Tensor::shallow_clone)).collect()
    }

    /// The gradient of element `i` of parameter `p` at a step.
    fn gradient(p: usize, i: usize, step: usize) -> f64 {
        (1.0 + p as f64 + 0.7 * i as f64 + 1.3 * step as f64).sin()
    }

    fn set_gradients(&self, step: usize) {
        clear_grads(&self.parameters);
        for (p, parameter) in self.parameters.iter().enumerate() {
            let values: Vec<f64> = (0..parameter.numel()).map(|i| Self::gradient(p, i, step)).collect();
            (parameter * Tensor::from_slice(&values).view_as(parameter)).sum(Kind::Double).backward();
        }
    }

    fn values(&self) -> Vec<Vec<f64>> {
        self.parameters.iter().map(values).collect()
    }

    fn steps(&self, optimizer: &mut Optimizer, steps: std::ops::Range<usize>) {
        for step in steps {
            self.set_gradients(step);
            optimizer.step(rate(step)).expect("one gradient a parameter");
        }
    }
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).reshape([-1])).expect("one dimension of numbers")
}

/// A rate that moves.
fn rate(step: usize) -> f64 {
    0.1 / (1.0 + step as f64)
}

/// What one parameter is after some steps, number by number.
fn reference(rule: &Rule, p: usize, start: &[f64], is_excluded: bool, rates: &[f64]) -> Vec<f64> {
    let mut w = start.to_vec();
    let (mut first, mut second) = (vec![0.0; w.len()], vec![0.0; w.len()]);
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    for (step, &lr) in rates.iter().enumerate() {
        let g: Vec<f64> = (0..w.len()).map(|i| Toy::gradient(p, i, step)).collect();
        let decay = |decay: f64| if is_excluded { 0.0 } else { decay };
        match rule {
            Rule::Sgd(sgd) => {
                for i in 0..w.len() {
                    let d = g[i] + decay(sgd.weight_decay) * w[i];
                    first[i] = sgd.momentum * first[i] + d;
                    w[i] -= lr * if sgd.nesterov { d + sgd.momentum * first[i] } else { first[i] };
                }
            }
            Rule::Lars(lars) => {
                let mut d: Vec<f64> = (0..w.len()).map(|i| g[i] + decay(lars.weight_decay) * w[i]).collect();
                if !is_excluded && norm(&w) > 0.0 && norm(&d) > 0.0 {
                    let ratio = lars.trust_coefficient * norm(&w) / norm(&d);
                    d.iter_mut().for_each(|d| *d *= ratio);
                }
                for i in 0..w.len() {
                    first[i] = lars.momentum * first[i] + d[i];
                    w[i] -= lr * first[i];
                }
            }
            Rule::AdamW(adam) => {
                let correct = |beta: f64| 1.0 - beta.powi(step as i32 + 1);
                for i in 0..w.len() {
                    w[i] *= 1.0 - lr * decay(adam.weight_decay);
                    first[i] = adam.beta1 * first[i] + (1.0 - adam.beta1) * g[i];
                    second[i] = adam.beta2 * second[i] + (1.0 - adam.beta2) * g[i] * g[i];
                    let root = (second[i] / correct(adam.beta2)).sqrt();
                    w[i] -= lr * first[i] / correct(adam.beta1) / (root + adam.epsilon);
                }
            }
        }
    }
    w
}

fn assert_near(got: &[f64], want: &[f64], what: &str) {
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-12, "{what}: {got} is not {want}");
    }
}

#[test]
fn every_rule_equals_its_loop_with_and_without_excluded_vectors() {
    for rule in &RULES {
        for exclude_1d in [false, true] {
            let (toy, start) = (Toy::new(), Toy::new().values());
            toy.steps(&mut Optimizer::new(&recipe(rule, exclude_1d), toy.named()), 0..5);
            let rates: Vec<f64> = (0..5).map(rate).collect();
            for (p, got) in toy.values().iter().enumerate() {
                let is_excluded = exclude_1d && p == 1;
                let want = reference(rule, p, &start[p], is_excluded, &rates);
                assert_near(got, &want, &format!("{rule:?}, exclude_1d {exclude_1d}, parameter {p}"));
            }
        }
    }
}

#[test]
fn the_first_group_that_fits_sets_rate_and_decay() {
    let group = |prefix: &str, lr_scale, weight_decay, constant_lr| ParameterGroup {
        prefix: prefix.to_owned(),
        lr_scale,
        weight_decay,
        constant_lr,
    };
    let groups = vec![
        group("online.predictor.", 2.0, None, true),
        group("online.encoder.b", 0.5, Some(0.3), false),
        group("online.", 1.0, None, false),
    ];
    let (toy, start) = (Toy::new(), Toy::new().values());
    let recipe = recipe::Optimizer { groups, ..recipe(&SGD, false) };
    toy.steps(&mut Optimizer::new(&recipe, toy.named()), 0..4);
    let rates = |rate: &dyn Fn(usize) -> f64| (0..4).map(rate).collect::<Vec<f64>>();
    let decayed = Rule::Sgd(Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.3, nesterov: false });
    let cases = [(&SGD, rates(&rate)), (&decayed, rates(&|step| 0.5 * rate(step))), (&SGD, vec![0.2; 4])];
    for (p, (rule, rates)) in cases.iter().enumerate() {
        assert_near(&toy.values()[p], &reference(rule, p, &start[p], false, rates), toy.names[p]);
    }
}

#[test]
fn a_parameter_without_gradient_and_what_is_kept_of_it_stay_put() {
    for rule in &RULES {
        let toy = Toy::new();
        let mut optimizer = Optimizer::new(&recipe(rule, false), toy.named());
        toy.steps(&mut optimizer, 0..2);
        let (before, kept) = (toy.values(), copies(&optimizer));
        toy.set_gradients(2);
        clear_grads(&toy.parameters[..1]);
        optimizer.step(0.1).expect("one gradient a parameter");
        assert_eq!(toy.values()[0], before[0]);
        assert_ne!(toy.values()[1], before[1]);
        for ((name, before), (_, after)) in kept.iter().zip(copies(&optimizer)) {
            assert_eq!(before.equal(&after), name.ends_with("encoder.w"), "{rule:?}: {name}");
        }
    }
}

#[test]
fn a_group_that_takes_nothing_is_refused_with_the_names_that_there_are() {
    let group = |prefix: &str| ParameterGroup {
        prefix: prefix.to_owned(),
        lr_scale: 1.0,
        weight_decay: None,
        constant_lr: true,
    };
    let check = |prefixes: &[&str]| {
        let groups = prefixes.iter().map(|prefix| group(prefix)).collect();
        check_groups(&recipe::Optimizer { groups, ..recipe(&SGD, false) }, &Toy::new().named())
    };
    check(&["online.predictor.", "online."]).expect("both take some");
    let error = check(&["online.", "predictor."]).expect_err("no name begins so");
    assert_eq!(
        error.to_string(),
        "recipe.optimizer.groups[1].prefix: no parameter is left whose name begins with \"predictor.\": names begin \
         with online.encoder., online.predictor."
    );
    let hidden = check(&["online.", "online.predictor."]).expect_err("the first takes all");
    assert_eq!(hidden.violations[0].field, "recipe.optimizer.groups[1].prefix");
}

#[test]
fn what_is_kept_lies_in_memory_as_its_parameter() {
    let weight = Tensor::zeros([4, 3, 3, 3], (Kind::Float, Device::Cpu));
    let weight = weight.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    for rule in &RULES {
        let optimizer = Optimizer::new(&recipe(rule, true), vec![("w".to_owned(), weight.shallow_clone())]);
        for (name, kept) in optimizer.state().iter().filter(|(name, _)| name != "count.w") {
            assert_eq!(kept.stride(), weight.stride(), "{name}");
        }
    }
}

fn copies(optimizer: &Optimizer) -> Vec<(String, Tensor)> {
    optimizer.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect()
}

fn copy_into(targets: impl IntoIterator<Item = Tensor>, sources: impl IntoIterator<Item = Tensor>) {
    for (mut target, source) in targets.into_iter().zip(sources) {
        tch::no_grad(|| target.copy_(&source));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_loaded_state_goes_on_to_the_bit(rule in 0..RULES.len(), exclude_1d: bool, n in 0_usize..4, m in 1_usize..4) {
        let recipe = recipe(&RULES[rule], exclude_1d);
        let (straight, resumed) = (Toy::new(), Toy::new());
        let mut optimizer = Optimizer::new(&recipe, straight.named());
        straight.steps(&mut optimizer, 0..n);
        let mut other = Optimizer::new(&recipe, resumed.named());
        let parameters = |toy: &Toy| toy.parameters.each_ref().map(Tensor::detach);
        copy_into(parameters(&resumed), parameters(&straight));
        let kept = |optimizer: &Optimizer| optimizer.state().into_iter().map(|(_, tensor)| tensor).collect::<Vec<_>>();
        copy_into(kept(&other), kept(&optimizer));
        straight.steps(&mut optimizer, n..n + m);
        resumed.steps(&mut other, n..n + m);
        prop_assert_eq!(straight.values(), resumed.values());
    }
}
