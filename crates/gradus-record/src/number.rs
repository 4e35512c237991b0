//! Numbers in JSON, with all their bits: JSON has no NaN and no infinity.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number that reads back as it was: JSON's number where it is finite, else `"NaN"`, `"inf"` or `"-inf"`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            x if x.is_finite() => s.serialize_f64(x),
            x if x.is_nan() => s.serialize_str("NaN"),
            x if x > 0.0 => s.serialize_str("inf"),
            _ => s.serialize_str("-inf"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Number, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = f64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"inf\" or \"-inf\"")
            }
            fn visit_f64<E: Error>(self, x: f64) -> Result<f64, E> {
                Ok(x)
            }
            fn visit_u64<E: Error>(self, x: u64) -> Result<f64, E> {
                Ok(x as f64)
            }
            fn visit_i64<E: Error>(self, x: i64) -> Result<f64, E> {
                Ok(x as f64)
            }
            fn visit_str<E: Error>(self, x: &str) -> Result<f64, E> {
                match x {
                    "NaN" => Ok(f64::NAN),
                    "inf" => Ok(f64::INFINITY),
                    "-inf" => Ok(f64::NEG_INFINITY),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(x), &self)),
                }
            }
        }
        d.deserialize_any(Any).map(Number)
    }
}

/// For `#[serde(with = …)]` on an `f64`.
pub(crate) mod one {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
        Number(*x).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Number::deserialize(d).map(|n| n.0)
    }
}

/// For numbers by name.
pub(crate) mod map {
    use indexmap::IndexMap;

    use super::*;

    pub(crate) fn serialize<S: Serializer>(map: &IndexMap<String, f64>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(k, x)| (k, Number(*x))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<IndexMap<String, f64>, D::Error> {
        Ok(IndexMap::<String, Number>::deserialize(d)?.into_iter().map(|(k, x)| (k, x.0)).collect())
    }
}

/// For numbers by name that may be absent.
pub(crate) mod maybe_map {
    use indexmap::IndexMap;

    use super::*;

    type Map = Option<IndexMap<String, f64>>;

    pub(crate) fn serialize<S: Serializer>(map: &Map, s: S) -> Result<S::Ok, S::Error> {
        map.as_ref().map(|m| m.iter().map(|(k, x)| (k, Number(*x))).collect::<IndexMap<_, _>>()).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Map, D::Error> {
        let map = Option::<IndexMap<String, Number>>::deserialize(d)?;
        Ok(map.map(|m| m.into_iter().map(|(k, x)| (k, x.0)).collect()))
    }
}

/// For lists of numbers by name.
pub(crate) mod lists {
    use indexmap::IndexMap;

    use super::*;

    type Map = IndexMap<String, Vec<f64>>;

    pub(crate) fn serialize<S: Serializer>(map: &Map, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(k, x)| (k, x.iter().map(|x| Number(*x)).collect::<Vec<_>>())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Map, D::Error> {
        let map = IndexMap::<String, Vec<Number>>::deserialize(d)?;
        Ok(map.into_iter().map(|(k, x)| (k, x.into_iter().map(|x| x.0).collect())).collect())
    }
}

/// For lists of numbers.
pub(crate) mod list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(list: &[f64], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(list.iter().map(|x| Number(*x)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<Number>::deserialize(d)?.into_iter().map(|x| x.0).collect())
    }
}

/// For lists of single-precision numbers, which double precision holds exactly.
pub(crate) mod list_f32 {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(list: &[f32], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(list.iter().map(|x| Number(f64::from(*x))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f32>, D::Error> {
        Ok(Vec::<Number>::deserialize(d)?.into_iter().map(|x| x.0 as f32).collect())
    }
}

/// For bytes, as hexadecimal text.
pub(crate) mod maybe_bytes {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, s: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|b| b.iter().map(|b| format!("{b:02x}")).collect::<String>()).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<u8>>, D::Error> {
        let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => {
                Ok(Some(digits.chunks_exact(2).map(|pair| (16 * pair[0] + pair[1]) as u8).collect()))
            }
            _ => Err(D::Error::custom("expected pairs of hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_reads_back_with_its_bits() {
        let mut bits = 0x9e37_79b9_7f4a_7c15u64;
        let special =
            [0.0, -0.0, 1.0, 0.1, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let random = (0..200_000).map(|_| {
            bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            f64::from_bits(bits ^ bits >> 31)
        });
        for x in special.into_iter().chain(random) {
            let text = serde_json::to_string(&Number(x)).unwrap();
            let again = serde_json::from_str::<Number>(&text).unwrap().0;
            assert!(again.to_bits() == x.to_bits() || (again.is_nan() && x.is_nan()), "{x:e} {text} {again:e}");
        }
        assert!(serde_json::from_str::<Number>("\"Inf\"").is_err());
        assert!(serde_json::from_str::<Number>("null").is_err());
    }
}
