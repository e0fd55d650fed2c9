//! SCE, MoCo and ReSSL.

use kindred_proto::recipe::{Method, methods};
use kindred_worker::methods::{cosines, log_relations, moco_v2, own_mask, ressl, sce};

use crate::{assert_close, embedded, gradient, published};

fn recipe(lambda: f64) -> methods::Sce {
    let Method::Sce(recipe) = published("sce") else { panic!("sce names another method") };
    methods::Sce { lambda, symmetric: false, ..recipe }
}

#[test]
fn sce_with_lambda_1_is_moco() {
    let (x, recipe) = (embedded(), recipe(1.0));
    let sce = sce::terms(&[x.q_bd.shallow_clone()], &[x.k_bd.copy()], &x.queue_kd, &recipe).remove(0).loss;
    let moco = moco_v2::loss(&moco_v2::logits(&x.q_bd, &x.k_bd, &x.queue_kd, recipe.temperature));
    assert_close(&sce, &moco);
    assert_close(&gradient(&sce, &x.q_bd), &gradient(&moco, &x.q_bd));
}

#[test]
fn sce_with_lambda_0_and_without_the_own_column_is_ressl() {
    let (x, recipe) = (embedded(), recipe(0.0));
    let key_cosines = cosines(&x.k_bd, &x.k_bd, &x.queue_kd);
    let is_own = own_mask((1, 21), 0, key_cosines.device());
    let target = sce::target(&key_cosines, &is_own, &recipe);
    let others = |columns: &tch::Tensor| columns.narrow(1, 1, 20);
    let sce = sce::loss(&others(&cosines(&x.q_bd, &x.k_bd, &x.queue_kd)), &others(&target), &recipe);
    let log_student = log_relations(&x.q_bd, &x.queue_kd, recipe.temperature);
    let ressl = ressl::loss(&log_student, &log_relations(&x.k_bd, &x.queue_kd, recipe.target_temperature));
    assert_close(&sce, &ressl);
    assert_close(&gradient(&sce, &x.q_bd), &gradient(&ressl, &x.q_bd));
}
