//! An activation of one's own, given as value and derivative: named in the file, loaded through a registry.

use gradus::prelude::*;
use gradus::train::{Flow, Settings};
use gradus::{Registry, spec::Spec};

fn softsign() -> Activation {
    Activation::new("Softsign", |x| x / (1.0 + x.abs()), |x| 1.0 / ((1.0 + x.abs()) * (1.0 + x.abs())))
}

/// Runs it.
pub fn main() -> gradus::Result<()> {
    let disk = data::disk(500, Seed(7));
    let mut net = Sequential::new([2])
        .add(Linear::new(25))
        .add(softsign())
        .add(Linear::new(2))
        .loss(MSELoss::new())
        .build(Seed(1))?;
    let settings =
        Settings { epochs: 20, batch: 20, optimizer: Spec::new("SGD").arg("lr", 0.5), ..Settings::default() };
    net.fit(&disk.train, &settings, |_| Flow::Continue)?;

    let path = std::env::temp_dir().join(format!("gradus-softsign-{}.safetensors", std::process::id()));
    net.save(&path)?;
    // Without the registry the file is refused, by the name it needs.
    println!("{}", Net::load(&path).unwrap_err());
    let mut again = Net::load_with(&path, &Registry::new().activation(softsign()), 1)?;
    assert_eq!(net.error(&disk.test)?, again.error(&disk.test)?);
    println!("test error {:.2} %", 100.0 * again.error(&disk.test)?);
    let _ = std::fs::remove_file(path);
    Ok(())
}
