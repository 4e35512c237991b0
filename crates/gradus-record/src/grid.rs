//! What a trained network says all over a part of the plane.

use serde::{Deserialize, Serialize};

use crate::bytes::{MOST, Read, Reader, Writer};

/// A decision surface: one number for every point of a grid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Points from left to right.
    pub width: usize,
    /// Points from bottom to top.
    pub height: usize,
    /// The first coordinate of the first and of the last column.
    pub x: [f64; 2],
    /// The second coordinate of the first and of the last row.
    pub y: [f64; 2],
    /// Row by row from the bottom: above 0 the last class of two wins, below 0 the first.
    #[serde(with = "crate::number::list_f32")]
    pub values: Vec<f32>,
}

impl Grid {
    /// What is wrong with it, if anything.
    pub(crate) fn check(&self) -> Read<()> {
        let range = [self.x, self.y].iter().flatten().all(|x| x.is_finite());
        if !range || self.width.checked_mul(self.height) != Some(self.values.len()) || self.values.len() > MOST {
            return Err(format!("a grid of {} × {} has {} values", self.width, self.height, self.values.len()));
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.count(self.width);
        w.count(self.height);
        [self.x, self.y].iter().flatten().for_each(|x| w.f64(*x));
        w.f32s(&self.values);
        w.bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Read<Grid> {
        let mut r = Reader(bytes);
        let (width, height) = (r.count()?, r.count()?);
        let (x, y) = ([r.f64()?, r.f64()?], [r.f64()?, r.f64()?]);
        let grid = Grid { width, height, x, y, values: r.f32s()? };
        r.end()?;
        grid.check().map(|()| grid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_reads_back() {
        let values = vec![0.5, -1.0, f32::INFINITY, 0.25, 1.0, 2.0];
        let grid = Grid { width: 3, height: 2, x: [0.0, 1.0], y: [-1.0, 1.0], values };
        let bytes = grid.encode();
        assert_eq!(Grid::decode(&bytes).unwrap(), grid);
        assert!((0..bytes.len()).all(|n| Grid::decode(&bytes[..n]).is_err()));
        assert_eq!(Grid { width: 2, ..grid }.check().unwrap_err(), "a grid of 2 × 2 has 6 values");
    }
}
