//! Everything that is computed on a GPU, held against the processor. Where there is no GPU, each test says so.

use candle_core::{DType, Device, Tensor};
use medmerge::doctor::{Tolerance, examine, examine_replays};
use medmerge::nn::Normalize;
use medmerge::nn::cuda::{self, ReadBack};
use medmerge::train::pixels;

use crate::not_tested::{Need, not_tested};

/// The first GPU, if the program was built for it and there is one.
fn gpu() -> Option<Device> {
    let found = cuda::open(0);
    if let Err(error) = &found {
        not_tested(Need::Gpu, format!("no CUDA device: {error}"));
    }
    found.ok()
}

/// Every operator, as one training step of each family of backbones; and the same bits again.
#[test]
fn training_steps_on_a_gpu_are_those_of_the_processor_in_f64() {
    let Some(device) = gpu() else { return };
    for finding in examine(&device).unwrap() {
        assert!(finding.is_good(Tolerance::default()), "{finding:?}");
    }
}

#[test]
fn training_steps_on_this_processor_are_those_in_f64() {
    for finding in examine(&Device::Cpu).unwrap() {
        assert!(finding.is_good(Tolerance::default()), "{finding:?}");
    }
}

#[test]
fn replayed_steps_on_a_gpu_give_the_same_bits() {
    let Some(device) = gpu() else { return };
    for (what, is_same) in examine_replays(&device).unwrap() {
        assert!(is_same, "{what}");
    }
}

/// What is read is what was computed, not what the memory held before.
#[test]
fn numbers_are_read_back_after_they_are_computed() {
    let Some(device) = gpu() else { return };
    let side = 4096;
    let ones = Tensor::ones((side, side), DType::F32, &device).unwrap();
    for number in 0..8 {
        // tens of milliseconds of work, which changes nothing
        let product = |x: Tensor, _| ones.matmul(&x).unwrap().affine(1.0 / side as f64, 0.0).unwrap();
        let same = (0..20).fold(ones.clone(), product);
        let computed = same.max_all().unwrap().affine(f64::from(number), 0.0).unwrap();
        assert_eq!(ReadBack::of(&computed).unwrap().read().unwrap(), f64::from(number));
    }
}

#[test]
fn images_on_a_gpu_are_normalized_to_the_same_bits() {
    let Some(device) = gpu() else { return };
    let (size, normalize) = (32, Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] });
    let image = size * size * 3;
    let levels = |n: usize| (0..n * image).map(|i| (i * i + n) as u8).collect();
    let batches: Vec<Vec<u8>> = (1..40).map(levels).collect();
    let on = |device: &Device| {
        let scaled = |levels: &Vec<u8>| pixels::scaled(levels, size, &normalize, device).unwrap();
        // all are on their way before any is read
        let scaled: Vec<Tensor> = batches.iter().map(scaled).collect();
        let elements = |images: Tensor| images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        scaled.into_iter().map(elements).collect::<Vec<_>>()
    };
    assert!(on(&device) == on(&Device::Cpu));
}

/// Whole trainings, with validation and smaller batches in between.
#[test]
fn trainings_on_a_gpu_make_the_same_model_with_graphs() {
    if gpu().is_none() {
        return;
    }
    let model = |options: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = assert_cmd::Command::cargo_bin("medmerge").unwrap();
        command.args(["run", "experiments/quickstart.toml", "--device", "cuda", "--only", "source_a"]);
        command.args(["--set", "sweep.seed=[0]", "--set", "stage.source_a.pretrain.epochs=2"]).args(options);
        command.arg("--store").arg(folder.path().join("store")).arg("--results").arg(folder.path());
        command.assert().success();
        let mut folders = vec![folder.path().join("store/store")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with("model.safetensors") {
                    return std::fs::read(path).unwrap();
                }
                folders.extend(path.is_dir().then_some(path));
            }
        }
        panic!("no model was made")
    };
    assert!(model(&[]) == model(&["--graphs"]));
}

/// The scores of the shipped experiment are as good on a GPU as on the processor, without another line in its file.
#[test]
fn quickstart_on_a_gpu_scores_as_on_the_processor() {
    if gpu().is_none() {
        return;
    }
    let scores = |device: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = assert_cmd::Command::cargo_bin("medmerge").unwrap();
        let store = folder.path().join("store");
        let results = folder.path().join("results");
        // Below the folder where tests run: the program of the tests may have been built elsewhere.
        command.args(["run", "experiments/quickstart.toml", "--device", device]);
        command.arg("--store").arg(&store).arg("--results").arg(&results).assert().success();
        let table = std::fs::read_to_string(results.join("quickstart/main.csv")).unwrap();
        let mut rows = csv::Reader::from_reader(table.as_bytes());
        let means = rows.headers().unwrap().iter().map(|name| name.ends_with(".mean")).collect::<Vec<_>>();
        let mut scores = Vec::new();
        for row in rows.records() {
            let row = row.unwrap();
            let numbers = row.iter().zip(&means).filter(|(_, is_mean)| **is_mean);
            scores.extend(numbers.map(|(number, _)| number.parse::<f64>().unwrap()));
        }
        scores
    };
    let (cpu, cuda) = (scores("cpu"), scores("cuda"));
    assert_eq!(cpu.len(), cuda.len());
    let mean_difference = cpu.iter().zip(&cuda).map(|(a, b)| a - b).sum::<f64>() / cpu.len() as f64;
    assert!(mean_difference.abs() < 0.05, "{cpu:?}\n{cuda:?}");
}
