//! Initial values of parameters.
//!
//! Sources: He et al. 2015 (kaiming), Glorot and Bengio 2010 (xavier). The default is PyTorch's for `Linear` and `Conv2d`:
//! weights and biases uniform in ±1/√fan_in. The `kaiming_*` and `xavier_*` set biases to 0, as R1 does.

use crate::error::Result;
use crate::fail;
use crate::rng::Key;
use crate::spec::suggest;

/// What a parameter is to its layer, for the initialiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fan {
    /// A weight with `fan_in` numbers summed for each output, and `fan_out` outputs each input reaches.
    Weight {
        /// Numbers summed for each output.
        fan_in: usize,
        /// Outputs each input reaches.
        fan_out: usize,
    },
    /// A bias of outputs that sum `fan_in` numbers.
    Bias {
        /// Numbers summed for each output.
        fan_in: usize,
    },
    /// A value every initialiser leaves as it is: the scale 1 of a norm, say.
    Constant(f64),
}

/// How parameters get their first values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// PyTorch's default: uniform in ±1/√fan_in, biases too.
    #[default]
    Torch,
    /// Normal with sd √(2/fan_in), biases 0 (He initialisation).
    KaimingNormal,
    /// Uniform in ±√(6/fan_in), biases 0.
    KaimingUniform,
    /// Normal with sd √(2/(fan_in + fan_out)), biases 0.
    XavierNormal,
    /// Uniform in ±√(6/(fan_in + fan_out)), biases 0.
    XavierUniform,
    /// All 0.
    Zeros,
}

impl Init {
    /// Every initialiser with its name in files and what it does.
    pub const ALL: &[(&str, Init, &str)] = &[
        ("torch", Init::Torch, "uniform in ±1/√fan_in, biases too (PyTorch's default)"),
        ("kaiming_normal", Init::KaimingNormal, "normal with sd √(2/fan_in), biases 0 (He)"),
        ("kaiming_uniform", Init::KaimingUniform, "uniform in ±√(6/fan_in), biases 0"),
        ("xavier_normal", Init::XavierNormal, "normal with sd √(2/(fan_in + fan_out)), biases 0 (Glorot)"),
        ("xavier_uniform", Init::XavierUniform, "uniform in ±√(6/(fan_in + fan_out)), biases 0"),
        ("zeros", Init::Zeros, "all 0"),
    ];

    /// The initialiser of that name.
    ///
    /// # Errors
    /// [`Kind::Name`](crate::error::Kind::Name), with the nearest known name.
    pub fn named(name: &str) -> Result<Init> {
        match Self::ALL.iter().find(|(n, ..)| *n == name) {
            Some((_, init, _)) => Ok(*init),
            None => {
                let known: Vec<&str> = Self::ALL.iter().map(|(n, ..)| *n).collect();
                fail!(Name, "there is no initialiser `{name}`{}", suggest(name, &known))
            }
        }
    }

    /// The first values of a parameter with `len` numbers, drawn from the stream of `key`, in torch's order.
    pub fn draw(self, fan: Fan, len: usize, key: Key) -> Vec<f64> {
        let mut stream = key.stream();
        let mut uniform = |bound: f64| (0..len).map(|_| (2.0 * stream.uniform() - 1.0) * bound).collect();
        let (i, o, bias) = match fan {
            Fan::Constant(value) => return vec![value; len],
            Fan::Weight { fan_in, fan_out } => (fan_in as f64, fan_out as f64, false),
            Fan::Bias { fan_in } => (fan_in as f64, 0.0, true),
        };
        match self {
            Init::Torch => uniform(libm::sqrt(1.0 / i)),
            _ if bias => vec![0.0; len],
            Init::Zeros => vec![0.0; len],
            Init::KaimingUniform => uniform(libm::sqrt(6.0 / i)),
            Init::XavierUniform => uniform(libm::sqrt(6.0 / (i + o))),
            Init::KaimingNormal => (0..len).map(|_| stream.normal() * libm::sqrt(2.0 / i)).collect(),
            Init::XavierNormal => (0..len).map(|_| stream.normal() * libm::sqrt(2.0 / (i + o))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn spread_is_as_stated() {
        let (n, fan) = (20_000, Fan::Weight { fan_in: 50, fan_out: 30 });
        for (name, sd) in [
            ("torch", (1.0f64 / 50.0).sqrt() / 3f64.sqrt()),
            ("kaiming_normal", (2.0f64 / 50.0).sqrt()),
            ("kaiming_uniform", (2.0f64 / 50.0).sqrt()),
            ("xavier_normal", (2.0f64 / 80.0).sqrt()),
            ("xavier_uniform", (2.0f64 / 80.0).sqrt()),
        ] {
            let x = Init::named(name).unwrap().draw(fan, n, Seed(1).key(name));
            let (mean, square) = (x.iter().sum::<f64>() / n as f64, x.iter().map(|v| v * v).sum::<f64>() / n as f64);
            assert!(mean.abs() <= 4.0 * sd / (n as f64).sqrt(), "{name}: mean {mean}");
            assert!((square.sqrt() / sd - 1.0).abs() <= 0.03, "{name}: sd {}", square.sqrt());
        }
        assert_eq!(Init::KaimingNormal.draw(Fan::Bias { fan_in: 3 }, 2, Seed(1).key("b")), [0.0, 0.0]);
        assert_eq!(Init::Torch.draw(Fan::Constant(1.0), 2, Seed(1).key("b")), [1.0, 1.0]);
    }

    #[test]
    fn a_wrong_name_is_helped() {
        assert!(Init::named("kaiming_norml").unwrap_err().to_string().contains("kaiming_normal"));
    }
}
