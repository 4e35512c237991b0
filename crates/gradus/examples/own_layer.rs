//! A layer of one's own, in one file: `Gain`, y = g·x with one trained number per feature, written with the library's ops.
//!
//! Backward: dg += Σ_B dy∗x, dx = dy∗g. Both are products with a diagonal matrix, so the layer uses an op of its own.

use gradus::init::Fan;
use gradus::layers::{Back, Declare};
use gradus::ops::{Case, Cost, Op};
use gradus::prelude::*;
use gradus::program::{Emit, Value};
use gradus::spec::{Def, Spec};
use gradus::train::{Flow, Settings};
use gradus::{Registry, fail};

/// y = g·x, feature by feature.
#[derive(Debug)]
pub struct Gain;

static GAIN: Def<dyn Layer> = Def {
    name: "Gain",
    summary: "a factor of its own for every feature",
    formula: "y = g∗x;  dg += Σ dy∗x,  dx = dy∗g",
    shapes: "(F) → (F);  gain (F)",
    args: &[],
    make: |_| Ok(Box::new(Gain)),
};

impl Layer for Gain {
    fn spec(&self) -> Spec {
        Spec::new("Gain")
    }

    fn declare(&self, x: &[usize], d: &mut Declare) -> gradus::Result<Vec<usize>> {
        let &[features] = x else { fail!(Shape, "Gain wants vectors, found {x:?}") };
        d.param("gain", &[features], Fan::Constant(1.0));
        Ok(vec![features])
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let g = e.param("gain");
        let (dims, name) = (e.dims(x).to_vec(), e.name(""));
        let y = e.batched(&name, &dims);
        e.op(Times, &[x, g], &[y]);
        let back = move |e: &mut Emit<'_>, dy| {
            let name = e.name("product");
            let product = e.batched(&name, &dims);
            e.op(Times, &[dy, x], &[product]);
            e.sum_grad(g, product); // dg += Σ dy∗x
            let name = e.name("");
            let dx = e.batched(&name, &dims);
            e.op(Times, &[dy, g], &[dx]); // dy∗g
            dx
        };
        (y, Box::new(back))
    }
}

/// y = x ∗ g, number by number; g is of the shape of x, or one row for all samples. One product per number.
#[derive(Debug)]
struct Times;

impl Op for Times {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = {} ∗ {}", w[0], r[0], r[1])
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(1)
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        for (i, y) in w[0].iter_mut().enumerate() {
            *y = r[0][i] * r[1][i % r[1].len()];
        }
    }

    fn lower(&self, l: &mut gradus::exec::cpu::Lower<'_>) {
        let (x, g, y) = (l.read(0), l.read(1), l.write(0));
        // A parameter lies in the store as one row; a value has a row for each sample.
        let one_row = g.span.len == g.layout.sample();
        let layout = x.layout;
        l.kernel([x.span, g.span], [y.span], [], [], move |run, s| {
            for at in layout.numbers(run.batch()) {
                let other = if one_row { at % layout.ld } else { at };
                s.write[0][at] = s.read[0][at] * s.read[1][other];
            }
        });
    }
}

/// Runs it.
pub fn main() -> gradus::Result<()> {
    // A backward of one's own is checked before it is used.
    let report = gradus::check::layer(std::sync::Arc::new(Gain), &[5], 3, Seed(1))?;
    assert!(report.passed(gradus::check::TOLERANCE), "{report}");

    let disk = data::disk(500, Seed(7));
    let mut net = Sequential::new([2])
        .add(Linear::new(25))
        .add(Gain)
        .add(Tanh)
        .add(Linear::new(2))
        .loss(MSELoss::new())
        .build(Seed(1))?;
    net.fit(&disk.train, &Settings { epochs: 20, batch: 20, ..Settings::default() }, |_| Flow::Continue)?;

    let path = std::env::temp_dir().join(format!("gradus-gain-{}.safetensors", std::process::id()));
    net.save(&path)?;
    let mut again = Net::load_with(&path, &Registry::new().layer(&GAIN), 1)?;
    assert_eq!(net.error(&disk.test)?, again.error(&disk.test)?);
    println!("test error {:.2} %", 100.0 * again.error(&disk.test)?);
    let _ = std::fs::remove_file(path);
    Ok(())
}
