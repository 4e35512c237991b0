//! Arrays in files: `.npy`, and `.csv` of numbers; and tables, `.csv` with a header and a target column.

use std::panic::catch_unwind;
use std::path::Path;

use csv::StringRecord;
use indexmap::{IndexMap, IndexSet};
use ndarray::{Array1, ArrayD, Axis, IxDyn, ShapeBuilder};
use npyz::{NpyHeader, Order, WriterBuilder};

use super::{Dataset, Target, TargetInfo, check_finite, first_few, in_c_order, place};
use crate::files::{read_capped, write_atomically};
use crate::{Result, fail};

/// The most bytes of an npy file that is read, and of a csv file, whose fields need more memory than they have bytes.
const NPY_LIMIT: u64 = 1 << 30;
const CSV_LIMIT: u64 = 1 << 28;

/// More classes than this in a table are more likely the wrong column.
const MOST_CLASSES: usize = 1000;

/// What [`read_array_with`] lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Also numbers that are not finite.
    pub non_finite: bool,
}

/// Reads an array of 1 to 4 dimensions from a `.npy` or `.csv` file; see [`read_array_with`].
pub fn read_array(path: impl AsRef<Path>) -> Result<ArrayD<f32>> {
    read_array_with(path, ReadOptions::default())
}

/// Reads an array from a file of at most 1 GiB (csv: 256 MiB), by its extension.
///
/// `.npy`: f32, f64 (rounded), u8, i32 and i64 (up to ±2²⁴, which f32 holds exactly), of any byte order, in C or
/// Fortran order, of 1 to 4 dimensions. `.csv`: numbers, (rows, columns); a first row in which nothing is a number is
/// a header and is skipped.
pub fn read_array_with(path: impl AsRef<Path>, options: ReadOptions) -> Result<ArrayD<f32>> {
    let path = path.as_ref();
    let read = match Format::of(path)? {
        Format::Npy => read_npy(&read_capped(path, NPY_LIMIT)?, options),
        Format::Csv => read_csv(&read_capped(path, CSV_LIMIT)?, options),
    };
    read.map_err(|e| e.at(path.display()))
}

/// Writes an array to a `.npy` file, or one of at most 2 dimensions to a `.csv` file without a header.
///
/// A reader finds the whole file or the one that was there before.
pub fn write_array(path: impl AsRef<Path>, array: &ArrayD<f32>) -> Result<()> {
    let path = path.as_ref();
    match Format::of(path)? {
        Format::Npy => write_atomically(path, |file| {
            let shape: Vec<u64> = array.shape().iter().map(|n| *n as u64).collect();
            let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()?;
            writer.extend(array.iter())?;
            writer.finish()
        }),
        Format::Csv if (1..=2).contains(&array.ndim()) => write_atomically(path, |file| {
            let mut writer = csv::Writer::from_writer(file);
            for row in array.axis_iter(Axis(0)) {
                writer.write_record(row.iter().map(f32::to_string))?;
            }
            writer.flush()
        }),
        Format::Csv => {
            fail!(Shape, "{}: a CSV file has 2 dimensions, the array has shape {:?}", path.display(), array.shape())
        }
    }
}

enum Format {
    Npy,
    Csv,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Format::Npy),
            Some("csv") => Ok(Format::Csv),
            _ => fail!(Argument, "{}: the name must end in .npy or .csv", path.display()),
        }
    }
}

/// NumPy itself refuses longer headers.
const NPY_HEADER_LIMIT: usize = 10_000;

fn read_npy(bytes: &[u8], options: ReadOptions) -> Result<ArrayD<f32>> {
    let (header, data) = split_npy(bytes)?;
    let header = match catch_unwind(|| NpyHeader::from_reader(header)) {
        Ok(Ok(header)) => header,
        Ok(Err(e)) => fail!(File, "damaged header: {}", e.to_string().lines().next().unwrap_or("")),
        Err(_) => fail!(File, "damaged header"), // a shape of more than 2^64 values, where overflow is checked
    };
    let dtype = header.dtype().descr();
    let kind = dtype.trim_matches('\'').trim_start_matches(['<', '>', '|']).to_string();
    let item = match &kind[..] {
        "u1" => 1,
        "f4" | "i4" => 4,
        "f8" | "i8" => 8,
        _ => fail!(File, "values of type {dtype}; only f4, f8, u1, i4 and i8 are read"),
    };
    let dims: Vec<usize> = header.shape().iter().map(|n| usize::try_from(*n).unwrap_or(usize::MAX)).collect();
    if !(1..=4).contains(&dims.len()) {
        fail!(File, "shape {dims:?} has {} dimensions, only 1 to 4 are read", dims.len());
    }
    let expected = dims.iter().try_fold(item, |product: usize, n| product.checked_mul(*n));
    if expected != Some(data.len()) {
        fail!(File, "shape {dims:?} of type {kind}, but {} bytes of data", data.len());
    }
    if data.is_empty() {
        fail!(File, "shape {dims:?} has nothing in it");
    }
    let big = dtype.contains('>');
    let values: Vec<f32> = match &kind[..] {
        "u1" => data.iter().map(|x| f32::from(*x)).collect(),
        "f4" => decode(data, big, f32::from_le_bytes),
        "f8" => decode(data, big, |x| f64::from_le_bytes(x) as f32),
        "i4" => decode(data, big, |x| exact(i32::from_le_bytes(x).into())),
        _ => decode(data, big, |x| exact(i64::from_le_bytes(x))),
    };
    let shape = IxDyn(&dims).set_f(header.order() == Order::Fortran);
    let array = in_c_order(ArrayD::from_shape_vec(shape, values).expect("the size was checked"));
    if kind.starts_with('i') && array.iter().any(|x| x.is_nan()) {
        let i = array.iter().position(|x| x.is_nan()).unwrap_or(0);
        fail!(File, "{} is beyond 2^24, which f32 does not hold exactly", place(&array, i));
    }
    if !options.non_finite {
        check_finite(&array)?;
    }
    Ok(array)
}

/// The values of N bytes each, which `value` takes in little-endian order.
fn decode<const N: usize>(data: &[u8], big: bool, value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (items, _) = data.as_chunks::<N>();
    let little = |mut item: [u8; N]| {
        if big {
            item.reverse();
        }
        item
    };
    items.iter().map(|item| value(little(*item))).collect()
}

/// The integer as f32, NaN if f32 does not hold it (as all up to 2²⁴ are held).
fn exact(x: i64) -> f32 {
    if x.unsigned_abs() <= 1 << 24 { x as f32 } else { f32::NAN }
}

/// The header with what is before it, and the data; refuses headers that the parser would answer with a huge
/// allocation or a deep recursion.
fn split_npy(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    if !bytes.starts_with(b"\x93NUMPY") {
        fail!(File, "byte 0: expected the magic \\x93NUMPY of an npy file");
    }
    let (start, length) = match *bytes {
        [_, _, _, _, _, _, 1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
        [_, _, _, _, _, _, 2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => fail!(File, "byte 6: expected version 1, 2 or 3 of the npy format and the size of its header"),
    };
    let most = NPY_HEADER_LIMIT.min(bytes.len() - start);
    if length > most {
        fail!(File, "byte 8: expected a header of at most {most} bytes, found {length}");
    }
    if bytes[start..start + length].iter().filter(|byte| b"([{".contains(byte)).count() > 4 {
        fail!(File, "the header has more brackets than that of an array of numbers");
    }
    Ok(bytes.split_at(start + length))
}

/// Gives each row and its line number to `row`, and checks that all rows are of one width.
fn for_each_row(bytes: &[u8], mut row: impl FnMut(u64, &StringRecord) -> Result<()>) -> Result<()> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes); // a byte order mark
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let mut record = StringRecord::new();
    let mut width = None;
    let (mut line, mut at) = (1, 0);
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(e) => fail!(File, "{e}"),
        }
        // The reader's own line is that before the row, where empty lines and line ends of two bytes are skipped.
        let start = record.position().map_or(0, |position| position.byte() as usize).max(at);
        let blank = bytes[start..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
        line += bytes[at..start + blank].iter().filter(|byte| **byte == b'\n').count() as u64;
        at = start + blank;
        let expected = *width.get_or_insert(record.len());
        if record.len() != expected {
            fail!(File, "line {line}: {} columns, the rows before have {expected}", record.len());
        }
        row(line, &record)?;
    }
}

/// Whether nothing in the row is a number.
fn is_header(record: &StringRecord) -> bool {
    record.iter().all(|field| field.parse::<f32>().is_err())
}

fn number(record: &StringRecord, column: usize, line: u64, options: ReadOptions) -> Result<f32> {
    let field = &record[column];
    match field.parse::<f32>() {
        Ok(x) if x.is_finite() || options.non_finite => Ok(x),
        Ok(_) => fail!(File, "line {line}, column {}: {field:?} is not a finite number", column + 1),
        Err(_) => fail!(File, "line {line}, column {}: {field:?} is not a number", column + 1),
    }
}

fn read_csv(bytes: &[u8], options: ReadOptions) -> Result<ArrayD<f32>> {
    let (mut values, mut rows, mut width, mut first) = (Vec::new(), 0, 0, true);
    for_each_row(bytes, |line, record| {
        if std::mem::take(&mut first) && is_header(record) {
            return Ok(());
        }
        (rows, width) = (rows + 1, record.len());
        (0..width).try_for_each(|column| {
            values.push(number(record, column, line, options)?);
            Ok(())
        })
    })?;
    if rows == 0 {
        fail!(File, "no rows of numbers");
    }
    Ok(ArrayD::from_shape_vec(IxDyn(&[rows, width]), values).expect("rows of one width"))
}

/// How [`load_table`] reads a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// The name of the input in the data set.
    pub input: String,
    /// The shape of one sample (their product is the number of feature columns), or none for a vector of all features.
    pub shape: Option<Vec<usize>>,
    /// The name of the target in the data set.
    pub target: String,
    /// The header of the target's column, or none for the last column.
    pub column: Option<String>,
    /// What the target is, when that is known (from a model's [`Schema`](super::Schema)): classes, one a sample, by
    /// their names, or by their indices when no class has a number for its name; or one value. None: classes, if any
    /// field is not a number (named by the fields, sorted) or all are whole numbers from 0 to 99 (named by the numbers
    /// from 0 to the largest); values otherwise.
    pub kind: Option<TargetInfo>,
}

impl Default for TableOptions {
    /// Input "x" of vectors and target "y" from the last column, of a kind to be guessed.
    fn default() -> Self {
        TableOptions { input: "x".into(), shape: None, target: "y".into(), column: None, kind: None }
    }
}

/// Reads a CSV file with a header: a column holds the target, all others hold the features of the input, in order.
pub fn load_table(path: impl AsRef<Path>, options: &TableOptions) -> Result<Dataset> {
    let path = path.as_ref();
    let bytes = read_capped(path, CSV_LIMIT)?;
    read_table(&bytes, options).map_err(|e| e.at(path.display()))
}

fn read_table(bytes: &[u8], options: &TableOptions) -> Result<Dataset> {
    let mut at = None; // the target's column
    let (mut values, mut width, mut fields) = (Vec::new(), 0, Vec::new());
    for_each_row(bytes, |line, record| {
        let Some(at) = at else {
            at = Some(target_column(record, line, options)?);
            width = record.len() - 1;
            return Ok(());
        };
        fields.push((line, record[at].to_string()));
        (0..record.len()).filter(|column| *column != at).try_for_each(|column| {
            values.push(number(record, column, line, ReadOptions::default())?);
            Ok(())
        })
    })?;
    if fields.is_empty() {
        fail!(File, "no rows below the header");
    }
    let mut shape = vec![fields.len()];
    match &options.shape {
        None => shape.push(width),
        Some(sample) if sample.iter().try_fold(1usize, |p, n| p.checked_mul(*n)) == Some(width) => shape.extend(sample),
        Some(sample) => fail!(Shape, "{width} columns of features; samples of shape {sample:?} need another number"),
    }
    let input = ArrayD::from_shape_vec(IxDyn(&shape), values).expect("rows of one width");
    Dataset::new(
        IndexMap::from([(options.input.clone(), input)]),
        IndexMap::from([(options.target.clone(), target(&fields, options.kind.as_ref())?)]),
    )
}

fn target_column(header: &StringRecord, line: u64, options: &TableOptions) -> Result<usize> {
    if !is_header(header) {
        fail!(File, "line {line}: expected the names of the columns, found a number");
    }
    if header.len() < 2 {
        fail!(File, "line {line}: one column; a table has features and a target");
    }
    let Some(name) = &options.column else {
        return Ok(header.len() - 1);
    };
    let mut found = (0..header.len()).filter(|column| header[*column] == **name);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => fail!(File, "line {line}: two columns are named {name:?}"),
        (None, _) => fail!(Name, "no column is named {name:?}; there are {:?}", header.iter().collect::<Vec<_>>()),
    }
}

/// The target from the fields of its column and their lines.
fn target(fields: &[(u64, String)], kind: Option<&TargetInfo>) -> Result<Target> {
    match kind.map_or_else(|| guess_kind(fields), |kind| Ok(kind.clone()))? {
        TargetInfo::Values { shape } if shape.iter().product::<usize>() == 1 => {
            let value = |(line, field): &(u64, String)| match field.parse::<f32>() {
                Ok(x) if x.is_finite() => Ok(x),
                _ => fail!(File, "line {line}: the target {field:?} is not a finite number"),
            };
            let values = fields.iter().map(value).collect::<Result<Vec<f32>>>()?;
            let shape: Vec<usize> = [&[fields.len()], &shape[..]].concat();
            Ok(Target::Values(ArrayD::from_shape_vec(shape, values).expect("one value a sample")))
        }
        TargetInfo::Classes { names, per_sample: None } => {
            let index: IndexMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
            let by_index = names.iter().all(|name| name.parse::<f32>().is_err());
            let list = first_few(&names).unwrap_or_default();
            let class = |(line, field): &(u64, String)| match index.get(&field[..]) {
                Some(class) => Ok(*class),
                None => match field.parse::<u32>() {
                    Ok(class) if by_index && (class as usize) < names.len() => Ok(class),
                    _ => fail!(Data, "line {line}: the target {field:?} is none of the classes {list}"),
                },
            };
            let labels = fields.iter().map(class).collect::<Result<Array1<u32>>>()?;
            Ok(Target::Classes { labels: labels.into_dyn(), names })
        }
        _ => fail!(Data, "a table gives one class or one value a sample, not several"),
    }
}

fn guess_kind(fields: &[(u64, String)]) -> Result<TargetInfo> {
    let numbers: Option<Vec<f32>> = fields.iter().map(|(_, field)| field.parse().ok()).collect();
    let names = match numbers {
        None => {
            let mut names: Vec<String> =
                fields.iter().map(|(_, f)| f.clone()).collect::<IndexSet<_>>().into_iter().collect();
            if names.len() > MOST_CLASSES {
                let few = first_few(&names).unwrap_or_default();
                fail!(File, "the target has {} different texts ({few}): is it the right column?", names.len());
            }
            names.sort();
            names
        }
        Some(numbers) if numbers.iter().all(|x| x.fract() == 0.0 && (0.0..100.0).contains(x)) => {
            let most = numbers.iter().fold(0.0, |a: f32, b| a.max(*b)) as u32;
            (0..=most).map(|class| class.to_string()).collect()
        }
        Some(_) => return Ok(TargetInfo::Values { shape: vec![] }),
    };
    Ok(TargetInfo::Classes { names, per_sample: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::labels;
    use crate::files::tests::{Folder, damaged};
    use ndarray::array;

    const PLAIN: ReadOptions = ReadOptions { non_finite: false };

    /// An npy file as NumPy writes it.
    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut header = format!("{header}\n");
        while (10 + header.len()) % 64 != 0 {
            header.insert(header.len() - 1, ' ');
        }
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), data].concat()
    }

    fn header(descr: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}")
    }

    fn bytes<T, const N: usize>(values: [T; N], f: impl Fn(T) -> Vec<u8>) -> Vec<u8> {
        values.into_iter().flat_map(f).collect()
    }

    #[test]
    fn npy_files_of_all_kinds_are_read() {
        let expected = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]].into_dyn();
        let c = [1u8, 2, 3, 4, 5, 6];
        for (descr, data) in [
            ("<f4", bytes(c, |x| f32::from(x).to_le_bytes().to_vec())),
            (">f4", bytes(c, |x| f32::from(x).to_be_bytes().to_vec())),
            ("<f8", bytes(c, |x| f64::from(x).to_le_bytes().to_vec())),
            (">f8", bytes(c, |x| f64::from(x).to_be_bytes().to_vec())),
            ("|u1", c.to_vec()),
            ("<i4", bytes(c, |x| i32::from(x).to_le_bytes().to_vec())),
            ("<i8", bytes(c, |x| i64::from(x).to_le_bytes().to_vec())),
            (">i8", bytes(c, |x| i64::from(x).to_be_bytes().to_vec())),
        ] {
            let array = read_npy(&npy(&header(descr, "False", "(2, 3)"), &data), PLAIN).unwrap();
            assert_eq!(array, expected, "{descr}");
        }
        let fortran = read_npy(&npy(&header("|u1", "True", "(2, 3)"), &[1, 4, 2, 5, 3, 6]), PLAIN).unwrap();
        assert_eq!(fortran, expected);
        assert!(fortran.is_standard_layout());
        let vector = read_npy(&npy(&header("|u1", "False", "(3,)"), &[1, 2, 3]), PLAIN).unwrap();
        assert_eq!(vector, array![1.0f32, 2.0, 3.0].into_dyn());
    }

    #[test]
    fn npy_files_that_cannot_be_read_say_why() {
        let f4 = |shape: &str, data: &[f32]| {
            let data: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
            npy(&header("<f4", "False", shape), &data)
        };
        let u1 = |descr: &str| npy(&header(descr, "False", "(2,)"), &[1, 2]);
        let big = (1i64 << 24) + 1;
        for (file, expected) in [
            (b"hello".to_vec(), r"byte 0: expected the magic \x93NUMPY of an npy file"),
            (f4("(2,)", &[1.0]), "shape [2] of type f4, but 4 bytes of data"),
            (f4("(1,)", &[1.0, 2.0]), "shape [1] of type f4, but 8 bytes of data"),
            (f4("(2, 2)", &[1.0, 2.0, f32::NAN, 0.0]), "row 1, value 0 is NaN, which is not a finite number"),
            (f4("()", &[1.0]), "shape [] has 0 dimensions, only 1 to 4 are read"),
            (f4("(1, 1, 1, 1, 1)", &[1.0]), "shape [1, 1, 1, 1, 1] has 5 dimensions, only 1 to 4 are read"),
            (f4("(3, 0)", &[]), "shape [3, 0] has nothing in it"),
            (f4("(4294967296, 4294967295)", &[1.0]), "shape [4294967296, 4294967295] of type f4, but 4 bytes of data"),
            (u1("|O"), "values of type '|O'; only f4, f8, u1, i4 and i8 are read"),
            (u1("|S1"), "values of type '|S1'; only f4, f8, u1, i4 and i8 are read"),
            (u1("<f2"), "values of type '<f2'; only f4, f8, u1, i4 and i8 are read"),
            (
                npy(&header("<f8", "False", "(1,)"), &1e300f64.to_le_bytes()),
                "row 0 is inf, which is not a finite number",
            ),
            (
                npy(&header("<i8", "False", "(1,)"), &big.to_le_bytes()),
                "row 0 is beyond 2^24, which f32 does not hold exactly",
            ),
            (npy(&"[".repeat(5000), &[]), "the header has more brackets than that of an array of numbers"),
            (
                [b"\x93NUMPY\x02\0", &[255; 4][..], &[b' '; 99][..]].concat(),
                "byte 8: expected a header of at most 99 bytes, found 4294967295",
            ),
            (
                b"\x93NUMPY\x09\0\x10\0".to_vec(),
                "byte 6: expected version 1, 2 or 3 of the npy format and the size of its header",
            ),
        ] {
            assert_eq!(read_npy(&file, PLAIN).unwrap_err().to_string(), expected);
        }
        let record = npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[0; 4]);
        assert!(read_npy(&record, PLAIN).unwrap_err().to_string().starts_with("values of type [('a', '<f4'"));
        for shape in ["(4294967296, 4294967296)", "(18446744073709551615, 3)", "(99999999999999999999,)"] {
            assert!(read_npy(&f4(shape, &[]), PLAIN).is_err(), "{shape}"); // beyond 64 bits
        }
        let nan = f4("(2,)", &[f32::NAN, f32::INFINITY]);
        assert!(read_npy(&nan, ReadOptions { non_finite: true }).unwrap()[[1]].is_infinite());
    }

    #[test]
    fn csv_files_are_read_with_or_without_a_header() {
        let expected = array![[1.0f32, -2.5], [3e-3, 4.0]].into_dyn();
        for file in ["1,-2.5\n3e-3,4\n", "a,b\r\n1, -2.5\r\n\r\n 3e-3,4", "\u{feff}\"a\",b\n\"1\",-2.5\n0.003,+4\n"] {
            assert_eq!(read_csv(file.as_bytes(), PLAIN).unwrap(), expected, "{file:?}");
        }
        for (file, expected) in [
            ("", "no rows of numbers"),
            ("a,b\n", "no rows of numbers"),
            ("1,2\n3\n", "line 2: 1 columns, the rows before have 2"),
            ("a,b\n1,2\n\n3,4,5\n", "line 4: 3 columns, the rows before have 2"),
            ("1,2\n3,x\n", r#"line 2, column 2: "x" is not a number"#),
            ("1,2\n,3\n", r#"line 2, column 1: "" is not a number"#),
            ("a,1\n2,3\n", r#"line 1, column 1: "a" is not a number"#),
            ("1,nan\n", r#"line 1, column 2: "nan" is not a finite number"#),
            ("1\n1e39\n", r#"line 2, column 1: "1e39" is not a finite number"#),
        ] {
            assert_eq!(read_csv(file.as_bytes(), PLAIN).unwrap_err().to_string(), expected, "{file:?}");
        }
        assert!(read_csv(b"1,inf\n", ReadOptions { non_finite: true }).is_ok());
        assert!(read_csv(b"1,\xff\n", PLAIN).is_err());
    }

    #[test]
    fn written_arrays_are_read_again_to_the_bit() {
        let folder = Folder::new("table");
        let values = [0.0, -0.0, 1.0 / 3.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, -16_777_217.0, 0.1];
        for (name, shape) in
            [("a.npy", vec![8]), ("b.npy", vec![2, 2, 1, 2]), ("c.csv", vec![4, 2]), ("d.csv", vec![8, 1])]
        {
            let array = ArrayD::from_shape_vec(shape, values.to_vec()).unwrap();
            let path = folder.0.join(name);
            write_array(&path, &array).unwrap();
            let again = read_array(&path).unwrap();
            assert_eq!(again.shape(), array.shape());
            assert!(again.iter().zip(&array).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
        }
        let transposed = array![[1.0f32, 2.0], [3.0, 4.0]].reversed_axes().into_dyn();
        write_array(folder.0.join("e.npy"), &transposed).unwrap();
        assert_eq!(read_array(folder.0.join("e.npy")).unwrap(), transposed);

        let deep = ArrayD::zeros(IxDyn(&[1, 1, 1]));
        let error = write_array(folder.0.join("f.csv"), &deep).unwrap_err().to_string();
        assert!(error.ends_with("f.csv: a CSV file has 2 dimensions, the array has shape [1, 1, 1]"), "{error}");
        let error = write_array("f.txt", &deep).unwrap_err();
        assert_eq!(error.to_string(), "f.txt: the name must end in .npy or .csv");
        std::fs::write(folder.0.join("g.csv"), "1\nx").unwrap();
        let error = read_array(folder.0.join("g.csv")).unwrap_err().to_string();
        assert!(error.ends_with(r#"g.csv: line 2, column 1: "x" is not a number"#), "{error}");
    }

    #[test]
    fn tables_have_features_and_a_target() {
        let table = |text: &str, options: &TableOptions| read_table(text.as_bytes(), options);
        let guess = TableOptions::default();
        let data = table("u,v,kind\n1,2,dog\n3,4,cat\n5,6,dog\n", &guess).unwrap();
        assert_eq!(data.inputs["x"], array![[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]].into_dyn());
        let Target::Classes { labels: found, names } = &data.targets["y"] else { panic!("classes") };
        assert_eq!((names.join(" "), found), ("cat dog".to_string(), &array![1, 0, 1].into_dyn()));

        let options = TableOptions {
            input: "points".into(),
            shape: Some(vec![1, 2]),
            target: "inside".into(),
            column: Some("v".into()),
            kind: None,
        };
        let data = table("u,v,w\n1,2,3\n4,0,6\n", &options).unwrap();
        assert_eq!(data.schema().to_string(), "points 1x2 -> inside (3 classes)");
        assert_eq!(data.inputs["points"], array![[[1.0f32, 3.0]], [[4.0, 6.0]]].into_dyn());
        for (text, expected) in [
            ("u,y\n1,0.5\n2,1\n", "(a value)"),
            ("u,y\n1,-1\n2,1\n", "(a value)"),
            ("u,y\n1,100\n", "(a value)"),
            ("u,y\n1,99\n", "(100 classes)"),
        ] {
            assert_eq!(table(text, &guess).unwrap().schema().to_string(), format!("x 1 -> y {expected}"));
        }

        let known = |names: &[&str]| TableOptions {
            kind: Some(TargetInfo::Classes { names: names.iter().map(|n| n.to_string()).collect(), per_sample: None }),
            ..TableOptions::default()
        };
        let y =
            |text: &str, options: &TableOptions| table(text, options).map(|mut d| d.targets.swap_remove("y").unwrap());
        assert_eq!(y("u,y\n1,b\n2,a\n", &known(&["a", "b"])).unwrap(), labels(&[1, 0], 2));
        assert_eq!(y("u,y\n1,1\n2,0\n", &known(&["a", "b"])).unwrap(), labels(&[1, 0], 2));
        for (text, options, expected) in [
            ("u,y\n1,c\n", known(&["a", "b"]), r#"line 2: the target "c" is none of the classes "a", "b""#),
            ("u,y\n1,2\n", known(&["a", "b"]), r#"line 2: the target "2" is none of the classes "a", "b""#),
            ("u,y\n1,0\n", known(&["1", "2"]), r#"line 2: the target "0" is none of the classes "1", "2""#),
            ("1,2\n3,4\n", guess.clone(), "line 1: expected the names of the columns, found a number"),
            ("u,y\n", guess.clone(), "no rows below the header"),
            ("y\n1\n", guess.clone(), "line 1: one column; a table has features and a target"),
            ("u,y\nx,1\n", guess.clone(), r#"line 2, column 1: "x" is not a number"#),
            ("u,y\n1,1\n2\n", guess.clone(), "line 3: 1 columns, the rows before have 2"),
            ("u,w\n1,1\n", options.clone(), r#"no column is named "v"; there are ["u", "w"]"#),
            ("v,v\n1,1\n", options.clone(), r#"line 1: two columns are named "v""#),
            ("v,w\n1,1\n", options, "1 columns of features; samples of shape [1, 2] need another number"),
        ] {
            assert_eq!(table(text, &options).unwrap_err().to_string(), expected, "{text:?}");
        }
        let values = TableOptions { kind: Some(TargetInfo::Values { shape: vec![1] }), ..guess.clone() };
        assert_eq!(y("u,y\n1,7\n", &values).unwrap(), Target::Values(array![[7.0f32]].into_dyn()));
        let error = y("u,y\n1,x\n", &values).unwrap_err();
        assert_eq!(error.to_string(), r#"line 2: the target "x" is not a finite number"#);
        let several = TableOptions { kind: Some(TargetInfo::Values { shape: vec![2] }), ..guess.clone() };
        assert!(table("u,y\n1,7\n", &several).is_err());
        let identities: String = (0..1001).map(|i| format!("{i},id{i}\n")).collect();
        let error = table(&format!("u,y\n{identities}"), &guess).unwrap_err().to_string();
        assert!(error.starts_with("the target has 1001 different texts (\"id0\", "), "{error}");
    }

    fn seeds() -> [Vec<u8>; 5] {
        let data: Vec<u8> = (0..6).flat_map(|x| (x as f32).to_le_bytes()).collect();
        [
            npy(&header("<f4", "False", "(2, 3)"), &data),
            npy(&header("|u1", "True", "(2, 3, 1)"), &[1, 2, 3, 4, 5, 6]),
            b"1,2.5\n3,4\n-1e3,+.5\n".to_vec(),
            b"a,b,kind\n1,2.5,cat\n3,4,\"do\"\"g\"\n5,6,cat\n".to_vec(),
            b"a,b,y\n1,2,0\n3,4,1\n5,6,1\n".to_vec(),
        ]
    }

    fn read_all(bytes: &[u8]) {
        let capped = |a: &ArrayD<f32>| assert!(a.len() <= bytes.len());
        let _ = read_npy(bytes, PLAIN).map(|a| capped(&a));
        let _ = read_csv(bytes, PLAIN).map(|a| capped(&a));
        let _ = read_table(bytes, &TableOptions::default()).map(|d| capped(&d.inputs["x"]));
    }

    #[test]
    fn cuts_and_flips_never_panic() {
        for good in seeds() {
            for at in 0..good.len() {
                let cut = &good[..at];
                read_all(cut);
                assert!(read_npy(cut, PLAIN).is_err(), "an npy file of {at} bytes for {}", good.len());
                for xor in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                    let mut bytes = good.clone();
                    bytes[at] ^= xor;
                    read_all(&bytes);
                }
            }
        }
    }

    #[test]
    fn damaged_files_never_panic() {
        seeds().iter().for_each(|good| damaged(good, 5_000, read_all));
    }

    #[test]
    #[ignore = "minutes: run it when a reader changes"]
    fn a_million_damaged_files_never_panic() {
        seeds().iter().for_each(|good| damaged(good, 1_000_000, read_all));
    }
}
