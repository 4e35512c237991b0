//! Is every backward pass the derivative of its forward pass? Layers and losses from the lists, whole networks.

mod cases;
#[path = "cases/networks.rs"]
mod networks;

use cases::{layer_case, loss_case};
use gradus::check::{self, Report, TOLERANCE};
use gradus::data::{Dataset, Target};
use gradus::layers::{LAYERS, Linear, Tanh};
use gradus::losses::{LOSSES, MSELoss};
use gradus::net::{Net, Options, Sequential};
use gradus::rng::Seed;
use ndarray::{Array, Array2};
use std::sync::Arc;

/// Random shapes and inputs for each layer and loss.
const CASES: u64 = 200;

fn all_pass(what: &str, reports: impl Iterator<Item = (String, Report)>) {
    let (mut worst, mut derivatives) = ((0.0, String::new()), 0);
    for (case, report) in reports {
        assert!(report.passed(TOLERANCE), "{what}, {case}\n{report}");
        assert!(report.rows.iter().all(|r| !r.kink), "{what}, {case}: kinks however often it was redrawn\n{report}");
        derivatives += report.rows.iter().map(|r| r.checked).sum::<usize>();
        if report.error() >= worst.0 {
            worst = (report.error(), case);
        }
    }
    println!("{what}: {derivatives} derivatives, worst relative error {:.1e} ({})", worst.0, worst.1);
}

#[test]
fn every_layer() {
    for def in LAYERS {
        let cases = (0..CASES).map(|n| {
            let case = layer_case(def.name, n);
            let report = check::layer(case.make(), &case.input, case.batch, Seed(n));
            (format!("{case:?}"), report.unwrap_or_else(|e| panic!("{case:?}: {e}")))
        });
        all_pass(def.name, cases);
    }
}

#[test]
fn every_loss() {
    for def in LOSSES {
        let cases = (0..CASES).map(|n| {
            let case = loss_case(def.name, n);
            let report = check::loss(case.make(), &case.input, &case.target, case.batch, Seed(n));
            (format!("{case:?}"), report.unwrap_or_else(|e| panic!("{case:?}: {e}")))
        });
        all_pass(def.name, cases);
    }
}

#[test]
fn networks_in_random_directions() {
    for network in networks::networks() {
        let reports = (0..2).map(|n| {
            let report = check::network(&network.graph, &network.data.all(), Seed(n)).unwrap();
            (format!("seed {n}"), report)
        });
        all_pass(network.name, reports);
    }
}

#[test]
fn parts_of_a_network_one_by_one() {
    for network in networks::networks() {
        let report = check::parts(&network.graph, 3, Seed(5)).unwrap();
        all_pass(network.name, std::iter::once((String::new(), report)).filter(|(_, r)| !r.rows.is_empty()));
    }
}

fn samples(n: usize) -> Dataset {
    let mut s = Seed(3).key("samples").stream();
    let x = Array2::from_shape_simple_fn((n, 3), || s.normal() as f32);
    let y = Array2::from_shape_simple_fn((n, 2), || s.normal() as f32);
    Dataset::from_arrays(x, Target::Values(y.into_dyn())).unwrap()
}

fn small(options: Options) -> Net {
    let chain = Sequential::new([3]).add(Linear::new(4)).add(Tanh).add(Linear::new(2));
    chain.loss(MSELoss::new()).options(options).build(Seed(1)).unwrap()
}

#[test]
fn gradients_of_two_batches_add_up() {
    let data = samples(7);
    let mut net = small(Options { f64: true, ..Options::default() });
    let step = |net: &mut Net, rows| {
        let batch = data.range(rows);
        net.forward(&batch);
        net.loss(&batch);
        net.backward();
        net.params()
    };
    let first = step(&mut net, 0..3);
    let both = step(&mut net, 3..7);
    net.zero_grad();
    let second = step(&mut net, 3..7);
    for ((a, b), sum) in first.iter().zip(&second).zip(&both) {
        let error = (&a.grad + &b.grad - &sum.grad).mapv(f64::abs);
        assert!(a.grad.iter().any(|g| *g != 0.0) && a.grad != b.grad);
        assert!(error.iter().all(|e| *e <= 1e-15), "{}: {error}", a.name);
    }
    // Each batch counts with its own mean: the check sees the sum as the derivative of the sum of both losses.
    net.zero_grad();
    let report = check::net(&net, &data.all(), Seed(2)).unwrap();
    assert!(report.passed(TOLERANCE), "{report}");
}

#[test]
fn backward_from_the_gradient_of_the_loss_is_backward() {
    let data = samples(5);
    for f64 in [true, false] {
        let (mut a, mut b) =
            (small(Options { f64, ..Options::default() }), small(Options { f64, ..Options::default() }));
        let batch = data.all();
        let y = a.forward(&batch).to_array().mapv(f64::from);
        let Target::Values(t) = &data.targets["y"] else { unreachable!() };
        let dy = (y - t.mapv(f64::from)) * (2.0 / 10.0);
        let dx = a.backward_from(&dy);
        assert_eq!(dx.shape(), [5, 3]);
        b.forward(&batch);
        b.loss(&batch);
        b.backward();
        for (p, q) in a.params().iter().zip(&b.params()) {
            let error = (&p.grad - &q.grad).mapv(f64::abs);
            assert!(error.iter().all(|e| *e <= 1e-6), "{}: {error}", p.name);
        }
    }
}

#[test]
fn a_users_own_activation_is_checked_with_its_derivative() {
    use gradus::layers::Activation;
    let softplus = |slope: fn(f64) -> f64| Arc::new(Activation::new("softplus", |x| x.exp().ln_1p(), slope));
    let right = check::layer(softplus(|x| 1.0 / (1.0 + (-x).exp())), &[4], 3, Seed(1)).unwrap();
    assert!(right.passed(TOLERANCE), "{right}");
    assert_eq!(right.rows[0].checked, 12);
    let wrong = check::layer(softplus(|x| 1.0 / (1.0 + (-x).exp()) + 1e-5), &[4], 3, Seed(1)).unwrap();
    assert!(!wrong.passed(TOLERANCE), "{wrong}");
    let nan = check::layer(softplus(|_| f64::NAN), &[4], 3, Seed(1)).unwrap();
    assert!(!nan.passed(f64::INFINITY), "{nan}");
}

#[test]
fn a_jump_is_reported_not_passed() {
    // No draw is away from the jumps of a staircase finer than the step.
    let stairs = gradus::layers::Activation::new("stairs", |x| (x * 1e4).round() * 1e-4, |_| 0.0);
    let report = check::layer(Arc::new(stairs), &[4], 3, Seed(1)).unwrap();
    assert!(report.rows[0].kink && !report.passed(TOLERANCE), "{report}");
    assert!(report.to_string().contains("a kink lies within the step"));
}

#[test]
fn frozen_parameters_are_left_out() {
    let chain = Sequential::new([3]).add(Linear::new(4)).add(Tanh).add(Linear::new(2)).freeze("*.bias");
    let net = chain.loss(MSELoss::new()).build(Seed(1)).unwrap();
    let report = check::net(&net, &samples(4).all(), Seed(2)).unwrap();
    assert!(report.passed(TOLERANCE), "{report}");
    let names: Vec<&str> = report.rows.iter().map(|r| r.what.as_str()).collect();
    assert_eq!(
        names,
        [
            "all parameters",
            "net.0.weight",
            "net.2.weight",
            "input x",
            "backward_from: all parameters",
            "backward_from: net.0.weight",
            "backward_from: net.2.weight",
            "backward_from: input x"
        ]
    );
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    assert!(check::layer(Arc::new(Linear::new(2)), &[3, 4], 2, Seed(1)).is_err());
    assert!(check::layer(Arc::new(Linear::new(2)), &[3], 0, Seed(1)).is_err());
    let net = small(Options::default());
    let x = Array::zeros((2, 5));
    let data = Dataset::from_arrays(x, Target::Values(Array::zeros((2, 2)).into_dyn())).unwrap();
    assert!(check::net(&net, &data.all(), Seed(1)).is_err());
}
