//! Where whole methods fall together, step by step.

use crate::toy::{self, spec};

/// What MoCo v2 and the methods that are built on it have in common.
const MOCO: &str =
    "temperature: 0.2, queue_size: 40, momentum: 0.9, projector: {hidden_dims: [16], out_dim: 8}";

#[test]
fn pcl_and_pauc_r_are_moco_v2_in_the_warm_up() {
    let trace = |name: &str, more: &str| {
        let parameters = format!("{{{MOCO}{more}}}");
        toy::run(&spec((name, &parameters), "fp32", "{group_size: 4}"), 1, 4).remove(0)
    };
    let moco = trace("moco_v2", "");
    for name in ["pcl", "pauc_r"] {
        let other = trace(name, ", clustering: {n_prototypes: [9], warmup_epochs: 1}");
        assert_eq!(other.losses, moco.losses, "{name}");
        // Its state begins with MoCo v2's networks.
        for ((part, moco), (other_part, other)) in moco.states[3].iter().zip(&other.states[3]) {
            if part.starts_with("online") || part.starts_with("target") || part.starts_with("queue") {
                assert_eq!(part, other_part);
                assert!(moco.equal(other), "{name}: {part}");
            }
        }
    }
}
