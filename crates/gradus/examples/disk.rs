//! Points in and out of a disk, with the reports' four steps, then saved and loaded.

use gradus::prelude::*;

/// Runs it.
pub fn main() -> gradus::Result<()> {
    let disk = data::disk(1000, Seed(7));
    let mut net = Sequential::new([2])
        .add(Linear::new(25))
        .add(ReLU)
        .add(Linear::new(25))
        .add(Tanh)
        .add(Linear::new(25))
        .add(ReLU)
        .add(Linear::new(2))
        .loss(MSELoss::new())
        .build(Seed(1))?;

    for epoch in 0..150 {
        let mut sum = 0.0;
        for batch in disk.train.batches(20) {
            net.forward(&batch);
            sum += net.loss(&batch);
            net.backward();
            net.learn(0.3);
        }
        if epoch % 30 == 29 {
            println!("epoch {:3}  loss {:.4}", epoch + 1, sum / 50.0);
        }
    }
    println!("test error {:.2} %", 100.0 * net.error(&disk.test)?);

    let path = std::env::temp_dir().join(format!("gradus-disk-{}.safetensors", std::process::id()));
    net.save(&path)?;
    let mut session = Model::load(&path)?.session(1);
    let centre = session.predict(&[0.5, 0.5])?;
    println!("the centre: outside {:.2}, inside {:.2}", centre.row(0)[0], centre.row(0)[1]);
    assert!(centre.row(0)[1] > centre.row(0)[0]);
    let _ = std::fs::remove_file(path);
    Ok(())
}
