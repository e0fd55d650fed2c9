//! SANE, InfoNCE over batch and queue, and mixup of one-hot labels.

use kindred_worker::methods::{cross_entropy, own_mask, sane};
use tch::{Kind, Tensor};

use crate::{assert_close, embedded, gradient};

const TEMPERATURE: f64 = 0.2;

#[test]
fn sane_without_refinement_and_mixup_is_infonce_over_batch_and_queue() {
    let x = embedded();
    let columns = Tensor::cat(&[&x.k_bd, &x.queue_kd], 0);
    let is_own = own_mask((6, 26), 0, x.k_bd.device());
    let labels = sane::refine(&sane::cosines(&x.k_bd, &columns), &is_own, TEMPERATURE, [0.0; 2]);
    assert_close(&labels.refined_bc, &is_own.to_kind(Kind::Double));
    let instance = sane::contrast(&x.q_bd, &columns, &labels.refined_bc, TEMPERATURE);
    let sane = sane::total(&instance, &Tensor::from(7.0), 0.0);
    let own = Tensor::arange(6, (Kind::Int64, x.k_bd.device()));
    let logits = sane::cosines(&x.q_bd, &columns) / TEMPERATURE;
    let infonce = cross_entropy(&logits, &own);
    assert_close(&sane, &infonce);
    assert_close(&gradient(&sane, &x.q_bd), &gradient(&infonce, &x.q_bd));
}

/// With one-hot labels, mixup's loss is the mix of the losses for both labels.
#[test]
fn sane_without_refinement_mixes_one_hot_labels() {
    let x = embedded();
    let columns = Tensor::cat(&[&x.k_bd, &x.queue_kd], 0);
    let is_own = own_mask((6, 26), 0, x.k_bd.device()).to_kind(Kind::Double);
    let partner_b = Tensor::from_slice(&[1_i64, 2, 0, 5, 3, 4]);
    let mixing = sane::Mixing { partner_b: partner_b.copy(), share_b: Tensor::from_slice(&[0.3]) };
    let mixed = sane::contrast(&x.q_bd, &columns, &mixing.mix(&is_own, &is_own), TEMPERATURE);
    let loss_for = |labels: &Tensor| sane::contrast(&x.q_bd, &columns, labels, TEMPERATURE);
    let both = loss_for(&is_own) * 0.3 + loss_for(&is_own.index_select(0, &partner_b)) * 0.7;
    assert_close(&mixed, &both);
}
