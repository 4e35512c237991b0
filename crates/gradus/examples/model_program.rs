//! The program the first report is modelled on: 64 samples of 1,000 random numbers, a hidden layer of 100 with ReLU, 10
//! outputs, the squared error summed, 500 steps of plain gradient descent.

use gradus::losses::Reduction;
use gradus::prelude::*;
use ndarray::Array2;

/// Runs it.
pub fn main() -> gradus::Result<()> {
    let mut numbers = Seed(0).key("data").stream();
    let x = Array2::from_shape_fn((64, 1000), |_| numbers.normal() as f32);
    let y = Array2::from_shape_fn((64, 10), |_| numbers.normal() as f32);
    let data = Dataset::from_arrays(x, Target::Values(y.into_dyn()))?;

    let mut net = Sequential::new([1000])
        .add(Linear::new(100))
        .add(ReLU)
        .add(Linear::new(10))
        .loss(MSELoss::new().reduction(Reduction::Sum))
        .build(Seed(1))?;

    let batch = data.all();
    let mut losses = Vec::new();
    for step in 0..500 {
        net.forward(&batch);
        let loss = net.loss(&batch);
        net.backward();
        net.learn(1e-4);
        if step % 100 == 99 {
            println!("step {:3}  loss {loss:.6}", step + 1);
        }
        losses.push(loss);
    }
    assert!(losses[499] < 1e-2 * losses[0], "{} -> {}", losses[0], losses[499]);
    Ok(())
}
