//! A loss of one's own, in one file: the sum of squares, Σ (x − t)², from the library's ops.

use gradus::data::TargetInfo;
use gradus::losses::{LossBack, Reduction};
use gradus::ops::Difference;
use gradus::prelude::*;
use gradus::program::{Emit, Value};
use gradus::spec::{Def, Spec};
use gradus::train::{Flow, Settings};
use gradus::{Registry, fail};

/// The sum of squares as many textbooks have it; its gradient is x − t.
#[derive(Debug)]
pub struct SquareLoss;

static SQUARE_LOSS: Def<dyn Loss> = Def {
    name: "SquareLoss",
    summary: "the sum of squared differences",
    formula: "L = Σ (x − t)²;  dx = 2·(x − t)",
    shapes: "x and t the same",
    args: &[],
    make: |_| Ok(Box::new(SquareLoss)),
};

impl Loss for SquareLoss {
    fn spec(&self) -> Spec {
        Spec::new("SquareLoss")
    }

    fn reduction(&self) -> Reduction {
        Reduction::Sum
    }

    fn declare(&self, x: &[usize], target: &TargetInfo) -> gradus::Result<()> {
        match target {
            TargetInfo::Values { shape } if shape == x => Ok(()),
            other => fail!(Shape, "SquareLoss compares {x:?} with values of that shape, found {other:?}"),
        }
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value, target: Value) -> (Value, LossBack) {
        let t = e.target_like(x, target);
        let loss = e.difference(Difference::Squared, Reduction::Sum, x, t);
        let back =
            move |e: &mut Emit<'_>, weight: f64| e.difference_grad(Difference::Squared, Reduction::Sum, weight, x, t);
        (loss, Box::new(back))
    }
}

/// Runs it.
pub fn main() -> gradus::Result<()> {
    let disk = data::disk(500, Seed(7));
    let mut net =
        Sequential::new([2]).add(Linear::new(25)).add(Tanh).add(Linear::new(2)).loss(SquareLoss).build(Seed(1))?;
    net.fit(&disk.train, &Settings { epochs: 20, batch: 20, ..Settings::default() }, |_| Flow::Continue)?;

    let path = std::env::temp_dir().join(format!("gradus-square-{}.safetensors", std::process::id()));
    net.save(&path)?;
    let mut again = Net::load_with(&path, &Registry::new().loss(&SQUARE_LOSS), 1)?;
    assert_eq!(net.error(&disk.test)?, again.error(&disk.test)?);
    println!("test error {:.2} %", 100.0 * again.error(&disk.test)?);
    let _ = std::fs::remove_file(path);
    Ok(())
}
