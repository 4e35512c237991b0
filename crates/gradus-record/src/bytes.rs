//! Compact binary parts: little endian, every length checked before it is used, and a check sum over each row.

/// Writes a part.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, x: u8) {
        self.bytes.push(x);
    }

    pub(crate) fn u64(&mut self, x: u64) {
        self.bytes.extend(x.to_le_bytes());
    }

    pub(crate) fn count(&mut self, n: usize) {
        self.u64(n as u64);
    }

    /// All NaN are one.
    pub(crate) fn f64(&mut self, x: f64) {
        self.u64(if x.is_nan() { f64::NAN } else { x }.to_bits());
    }

    pub(crate) fn f64s(&mut self, list: &[f64]) {
        self.count(list.len());
        list.iter().for_each(|x| self.f64(*x));
    }

    pub(crate) fn f32s(&mut self, list: &[f32]) {
        self.count(list.len());
        for x in list {
            self.bytes.extend(if x.is_nan() { f32::NAN } else { *x }.to_le_bytes());
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.raw(text.as_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend(bytes);
    }

    pub(crate) fn texts(&mut self, list: &[String]) {
        self.count(list.len());
        list.iter().for_each(|t| self.text(t));
    }

    /// Whole numbers in as few bytes each as the largest needs: labels take one. Of a list that counts 0, 1, 2 … its length
    /// alone is written. The largest number of a width stands for `u32::MAX`, which is how "no class" is written.
    pub(crate) fn u32s(&mut self, list: &[u32]) {
        self.count(list.len());
        let counting = list.iter().zip(0..).all(|(x, i)| *x == i);
        let fits = |limit: u32| list.iter().all(|x| *x < limit || *x == u32::MAX);
        let width =
            [(0, counting), (1, fits(0xff)), (2, fits(0xffff))].into_iter().find(|(_, is)| *is).map_or(4, |w| w.0);
        self.u8(width);
        for x in list {
            self.bytes.extend(&x.to_le_bytes()[..usize::from(width)]);
        }
    }
}

/// Reads a part; an error is what is wrong with it, in a few words.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub &'a [u8]);

pub(crate) type Read<T> = std::result::Result<T, String>;

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(head)
    }

    /// `n` items of `size` bytes.
    fn items(&mut self, n: usize, size: usize) -> Read<&'a [u8]> {
        self.take(n.checked_mul(size).ok_or("a length is too large")?)
    }

    pub(crate) fn u8(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(array(self.take(8)?)))
    }

    /// A number of items that follow; the bytes for them are not there before they are taken.
    pub(crate) fn count(&mut self) -> Read<usize> {
        usize::try_from(self.u64()?).map_err(|_| "a length is too large".into())
    }

    pub(crate) fn f64(&mut self) -> Read<f64> {
        self.u64().map(f64::from_bits)
    }

    pub(crate) fn f64s(&mut self) -> Read<Vec<f64>> {
        let n = self.count()?;
        Ok(self.items(n, 8)?.chunks_exact(8).map(|b| f64::from_le_bytes(array(b))).collect())
    }

    pub(crate) fn f32s(&mut self) -> Read<Vec<f32>> {
        let n = self.count()?;
        Ok(self.items(n, 4)?.chunks_exact(4).map(|b| f32::from_le_bytes(array(b))).collect())
    }

    pub(crate) fn text(&mut self) -> Read<String> {
        String::from_utf8(self.raw()?.to_vec()).map_err(|_| "a text is not UTF-8".into())
    }

    pub(crate) fn raw(&mut self) -> Read<&'a [u8]> {
        let n = self.count()?;
        self.take(n)
    }

    pub(crate) fn texts(&mut self) -> Read<Vec<String>> {
        // Not `with_capacity`: the number may be a lie.
        (0..self.count()?).map(|_| self.text()).collect()
    }

    /// At most as many as `most`, which the caller knows: a list that counts takes no bytes.
    pub(crate) fn u32s(&mut self, most: usize) -> Read<Vec<u32>> {
        let n = self.count()?;
        if n > most {
            return Err("a length is too large".into());
        }
        let width = self.u8()?;
        let bytes = self.items(n, usize::from(width))?;
        let wide = |b: &[u8]| {
            let mut x = [0; 4];
            x[..b.len()].copy_from_slice(b);
            u32::from_le_bytes(x)
        };
        match width {
            0 => Ok((0..n as u32).collect()),
            1 | 2 | 4 => {
                let none = u32::MAX >> (32 - 8 * u32::from(width));
                let back = |x: u32| if x == none { u32::MAX } else { x };
                Ok(bytes.chunks_exact(usize::from(width)).map(|b| back(wide(b))).collect())
            }
            _ => Err("a width is none of 0, 1, 2 and 4".into()),
        }
    }

    /// That nothing is left.
    pub(crate) fn end(&self) -> Read<()> {
        if self.0.is_empty() { Ok(()) } else { Err("it goes on after its end".into()) }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("as many bytes as were taken")
}

/// The most whole numbers of a list.
pub(crate) const MOST: usize = 1 << 28;

/// A check sum over the columns of a row: FNV-1a of 64 bits, over lengths too. It finds every change of a single byte, and any
/// other damage but once in 2⁶⁴; it is no protection against people.
pub(crate) fn check_sum(columns: &[&[u8]]) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for column in columns {
        for byte in (column.len() as u64).to_le_bytes().iter().chain(*column) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    hash as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut w = Writer::default();
        write(&mut w);
        w.bytes
    }

    #[test]
    fn everything_reads_back() {
        let bytes = written(|w| {
            w.u8(7);
            w.f64s(&[0.1, f64::NAN, -0.0]);
            w.f32s(&[0.1, f32::NEG_INFINITY]);
            w.texts(&["a".into(), "größer".into()]);
            w.raw(&[1, 2]);
        });
        let mut r = Reader(&bytes);
        assert_eq!(r.u8(), Ok(7));
        let list = r.f64s().unwrap();
        assert!(list[0] == 0.1 && list[1].is_nan() && list[2].to_bits() == (-0.0f64).to_bits());
        assert_eq!(r.f32s().unwrap(), [0.1, f32::NEG_INFINITY]);
        assert_eq!(r.texts().unwrap(), ["a", "größer"]);
        assert_eq!(r.raw().unwrap(), [1, 2]);
        assert_eq!(r.end(), Ok(()));
    }

    #[test]
    fn whole_numbers_take_the_room_they_need() {
        for (list, size) in [
            (vec![], 0),
            (vec![0, 1, 2, 3], 0),
            (vec![1, 0, u32::MAX], 3),
            (vec![0, 254], 2),
            (vec![0, 255], 4),
            (vec![0, 65_534, u32::MAX], 6),
            (vec![65_535], 4),
            (vec![u32::MAX - 1], 4),
        ] {
            let bytes = written(|w| w.u32s(&list));
            assert_eq!(bytes.len(), 9 + size, "{list:?}");
            assert_eq!(Reader(&bytes).u32s(10).unwrap(), list);
        }
        assert!(Reader(&written(|w| w.u32s(&[0, 1, 2]))).u32s(2).is_err());
    }

    #[test]
    fn no_length_is_believed() {
        let mut lie = u64::MAX.to_le_bytes().to_vec();
        lie.push(1);
        assert!(Reader(&lie).f64s().is_err() && Reader(&lie).f32s().is_err() && Reader(&lie).u32s(MOST).is_err());
        assert!(Reader(&lie).texts().is_err() && Reader(&lie).raw().is_err());
        assert_eq!(Reader(&[1]).end(), Err("it goes on after its end".into()));
        assert!(Reader(&[1, 0, 0, 0, 0, 0, 0, 0, 3, 9, 9, 9]).u32s(9).unwrap_err().contains("width"));
    }

    #[test]
    fn a_check_sum_sees_every_byte_and_every_border() {
        let sum = check_sum(&[b"one", b"two"]);
        assert_ne!(sum, check_sum(&[b"onet", b"wo"]));
        assert_ne!(sum, check_sum(&[b"one", b"two", b""]));
        for i in 0..3 {
            for bit in 0..8 {
                let mut bytes = *b"two";
                bytes[i] ^= 1 << bit;
                assert_ne!(sum, check_sum(&[b"one", &bytes]));
            }
        }
    }
}
