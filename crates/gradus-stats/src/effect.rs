//! Effect size of paired differences: Cohen's d_z = m/s (Cohen 1988), and Hedges' correction for few rounds,
//! g = J(n − 1) d_z with J(ν) = Γ(ν/2) / (√(ν/2) Γ((ν − 1)/2)) (Hedges 1981).

use crate::dist::ln_gamma;
use crate::error::Result;
use crate::moments::Moments;

/// The effect size, in standard deviations of the differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Cohen's d_z, the mean over the sd.
    pub d_z: f64,
    /// d_z without its bias for small n; `None` for two differences, where it has no finite mean.
    pub corrected: Option<f64>,
}

/// The effect size; `None` for one difference and for equal ones.
///
/// # Errors
/// If there are no differences or one is not a usable number.
pub fn effect(differences: &[f64]) -> Result<Option<Effect>> {
    let moments = Moments::of(differences)?;
    let Some(sd) = moments.sd.filter(|sd| *sd > 0.0) else { return Ok(None) };
    let d_z = moments.mean / sd;
    let df = moments.n as f64 - 1.0;
    let corrected = (df > 1.0)
        .then(|| d_z * libm::exp(ln_gamma(0.5 * df) - ln_gamma(0.5 * (df - 1.0)) - 0.5 * libm::log(0.5 * df)));
    Ok(Some(Effect { d_z, corrected }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_and_undefined() {
        // ν = 2: J = Γ(1)/(1 · Γ(½)) = 1/√π; m = 2, s = 1.
        let e = effect(&[1.0, 2.0, 3.0]).unwrap().unwrap();
        assert!((e.d_z - 2.0).abs() <= 1e-15);
        assert!((e.corrected.unwrap() - 2.0 / std::f64::consts::PI.sqrt()).abs() <= 1e-14);
        assert_eq!(effect(&[1.0, 3.0]).unwrap().unwrap().corrected, None);
        assert_eq!(effect(&[1.0, 1.0]).unwrap(), None);
        assert_eq!(effect(&[1.0]).unwrap(), None);
        // J is nearly 1 − 3/(4ν − 1).
        let many: Vec<f64> = (0..60).map(f64::from).collect();
        let e = effect(&many).unwrap().unwrap();
        assert!((e.corrected.unwrap() / e.d_z - (1.0 - 3.0 / (4.0 * 59.0 - 1.0))).abs() <= 1e-5);
    }
}
