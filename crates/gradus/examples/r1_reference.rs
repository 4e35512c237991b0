//! The first report's experiment exactly as its code ran, over 30 starts; writes the data and first weights of every start
//! as NumPy files, so that `tests/golden/r1_same_starts.py` can run the same trainings independently.
//!
//! `cargo run --release -p gradus --example r1_reference -- FOLDER`

use std::path::Path;

use gradus::data::write_array;
use gradus::losses::Reduction;
use gradus::prelude::*;
use gradus::spec::Spec;
use gradus::train::{Flow, Settings};

const STARTS: u64 = 30;

fn main() -> gradus::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "r1".to_string());
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).map_err(|e| gradus::Error::io(folder, &e))?;
    let settings = Settings {
        epochs: 150,
        batch: 20,
        shuffle: false,
        optimizer: Spec::new("SGD").arg("lr", 1e-4),
        ..Settings::default()
    };
    let mut errors = Vec::new();
    for start in 0..STARTS {
        let disk = data::disk(1000, Seed(2020).child(start));
        let mut net = Sequential::new([2])
            .add(Linear::new(25))
            .add(ReLU)
            .add(Linear::new(25))
            .add(Tanh)
            .add(Linear::new(25))
            .add(ReLU)
            .add(Linear::new(2))
            .loss(MSELoss::new().reduction(Reduction::Sum))
            .init("kaiming_normal")
            .build(Seed(1000 + start))?;
        for (name, set) in [("train", &disk.train), ("test", &disk.test)] {
            write_array(folder.join(format!("{start}-{name}-x.npy")), &set.inputs["points"])?;
            if let Target::Classes { labels, .. } = &set.targets["inside"] {
                write_array(folder.join(format!("{start}-{name}-y.npy")), &labels.mapv(|l| l as f32))?;
            }
        }
        for p in net.params() {
            write_array(folder.join(format!("{start}-{}.npy", p.name)), &p.value.mapv(|x| x as f32))?;
        }
        net.fit(&disk.train, &settings, |_| Flow::Continue)?;
        errors.push(100.0 * net.error(&disk.test)?);
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let sd = (errors.iter().map(|e| (e - mean) * (e - mean)).sum::<f64>() / (errors.len() - 1) as f64).sqrt();
    println!("gradus: test error {mean:.3} ± {sd:.3} over {STARTS} starts");
    let list = ndarray::Array2::from_shape_vec((errors.len(), 1), errors.iter().map(|e| *e as f32).collect());
    write_array(folder.join("errors.npy"), &list.expect("one column").into_dyn())
}
