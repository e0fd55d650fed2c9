use super::*;

fn up(state: &Path) -> Up {
    let listen = "127.0.0.1:0".parse().expect("an address");
    Up {
        allow_insecure: false,
        workers: 1,
        state: state.to_owned(),
        listen,
        devices_per_worker: None,
        web: None,
        data_root: None,
        detection_budget: None,
        checkpoint_store: None,
    }
}

#[test]
fn a_state_folder_in_use_is_refused_with_the_pid() {
    let state = tempfile::tempdir().expect("a temporary folder");
    let dir = state.path().join("coordinator");
    fs::create_dir_all(&dir).expect("writable");
    fs::write(dir.join("lock"), "4711\n").expect("writable");
    fs::write(dir.join("address"), "127.0.0.1:1\n").expect("writable");
    let held = fs::File::open(dir.join("lock")).expect("just written");
    held.lock().expect("nobody holds it");
    let error = Plan::of(up(state.path())).err().expect("in use");
    assert!(error.to_string().contains("in use by process 4711"), "{error}");
    assert!(dir.join("address").exists(), "a running coordinator keeps its address");
    drop(held);
    let plan = Plan::of(up(state.path())).expect("free again");
    assert!(!dir.join("address").exists(), "the address of one that is gone is removed");
    assert_ne!(plan.args.listen.port(), 0);
}
