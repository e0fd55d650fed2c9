//! ISD and ReSSL.

use kindred_worker::methods::{isd, log_relations, ressl};

use crate::{assert_close, embedded, gradient};

#[test]
fn isd_is_ressl_less_the_teachers_entropy() {
    let x = embedded();
    let log_student = log_relations(&x.q_bd, &x.queue_kd, 0.1);
    let log_teacher = log_relations(&x.k_bd, &x.queue_kd, 0.04);
    let (isd, ressl) = (isd::loss(&log_student, &log_teacher), ressl::loss(&log_student, &log_teacher));
    assert_close(&isd, &(&ressl - ressl::loss(&log_teacher, &log_teacher)));
    assert_close(&gradient(&isd, &x.q_bd), &gradient(&ressl, &x.q_bd));
}
