//! What ranks on this node may compute on, found without loading torch or CUDA.

use std::{env, fs, path::Path};

use kindred_proto::v1;

/// Where NVIDIA's kernel module lists its GPUs, one folder each.
const GPU_FOLDER: &str = "/proc/driver/nvidia/gpus";

/// The devices of a node: `n_cpu` of the processor (one GPU-less node: one, a GPU node: none, unless told), and
/// `n_cuda` GPUs of so much memory, or those that are found.
pub fn devices(n_cpu: Option<u32>, n_cuda: Option<u32>, gpu_memory_bytes: u64) -> Vec<v1::Device> {
    let mut gpus = cuda(n_cuda, Path::new(GPU_FOLDER), |name| env::var(name).ok());
    gpus.iter_mut().for_each(|gpu| gpu.memory_bytes = gpu_memory_bytes);
    let n_cpu = n_cpu.unwrap_or(u32::from(gpus.is_empty()));
    let (model, memory_bytes) = (cpu_model(), memory_bytes());
    let cpu = |index| device(index, v1::DeviceKind::Cpu, model.clone(), memory_bytes);
    (0..n_cpu).map(cpu).chain(gpus).collect()
}

fn device(index: u32, kind: v1::DeviceKind, model: String, memory_bytes: u64) -> v1::Device {
    v1::Device { index, kind: kind.into(), model, memory_bytes, ..Default::default() }
}

/// The GPUs that a rank's CUDA will number 0, 1 and so on: all, or the choice of the environment.
fn cuda(told: Option<u32>, folder: &Path, variable: impl Fn(&str) -> Option<String>) -> Vec<v1::Device> {
    let models = gpu_models(folder);
    let chosen = ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"].into_iter().find_map(|name| {
        let value = variable(name)?;
        (value != "all").then(|| n_visible(&value))
    });
    let found = models.len() as u32;
    let count = told.unwrap_or_else(|| chosen.map_or(found, |n| n.min(found)));
    let model = |index: u32| models.get(index as usize).or(models.first()).cloned().unwrap_or_default();
    (0..count).map(|index| device(index, v1::DeviceKind::Cuda, model(index), 0)).collect()
}

/// How many devices a list such as `0,1` or `GPU-…,GPU-…` makes visible: CUDA stops at the first entry that is none.
fn n_visible(list: &str) -> u32 {
    let is_device =
        |entry: &&str| !entry.is_empty() && !entry.starts_with('-') && *entry != "none" && *entry != "void";
    list.split(',').map(str::trim).take_while(is_device).count() as u32
}

fn gpu_models(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let model = |path: &std::path::PathBuf| field(&path.join("information"), "Model").unwrap_or_default();
    paths.iter().map(model).collect()
}

fn cpu_model() -> String {
    field(Path::new("/proc/cpuinfo"), "model name").unwrap_or_else(|| env::consts::ARCH.to_owned())
}

fn memory_bytes() -> u64 {
    let kib =
        field(Path::new("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
    kib.unwrap_or(0_u64) * 1024
}

/// The value of the first line `name: value` of a file under /proc.
fn field(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu_folder(n: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for index in 0..n {
            let gpu = folder.path().join(format!("0000:{index:02}:00.0"));
            fs::create_dir(&gpu).expect("a folder");
            fs::write(gpu.join("information"), "Model: \t NVIDIA H100\nIRQ: 7\n").expect("written");
        }
        folder
    }

    fn count(told: Option<u32>, variables: &[(&str, &str)]) -> usize {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        cuda(told, gpu_folder(4).path(), variable).len()
    }

    #[test]
    fn gpus_are_counted_as_a_rank_will_see_them() {
        assert_eq!(count(None, &[]), 4);
        assert_eq!(count(None, &[("CUDA_VISIBLE_DEVICES", "2,3")]), 2);
        assert_eq!(count(None, &[("CUDA_VISIBLE_DEVICES", "")]), 0);
        assert_eq!(count(None, &[("CUDA_VISIBLE_DEVICES", "0,-1,1")]), 1);
        assert_eq!(count(None, &[("NVIDIA_VISIBLE_DEVICES", "all")]), 4);
        assert_eq!(count(None, &[("NVIDIA_VISIBLE_DEVICES", "void")]), 0);
        assert_eq!(count(None, &[("CUDA_VISIBLE_DEVICES", "0"), ("NVIDIA_VISIBLE_DEVICES", "all")]), 1);
        assert_eq!(count(Some(2), &[("CUDA_VISIBLE_DEVICES", "")]), 2);
    }

    #[test]
    fn a_gpu_carries_its_model() {
        let found = cuda(None, gpu_folder(1).path(), |_| None);
        assert_eq!((found[0].model.as_str(), found[0].kind()), ("NVIDIA H100", v1::DeviceKind::Cuda));
        assert!(cuda(None, Path::new("/nowhere"), |_| None).is_empty());
    }

    #[test]
    fn processors_are_as_many_as_told() {
        let found = devices(Some(3), Some(0), 0);
        assert_eq!(found.iter().map(|device| device.index).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(found.iter().all(|device| device.memory_bytes > 0 && !device.model.is_empty()));
    }
}
