//! Writes a block of random expressions for `tests/language/random.rs`, in widths from 1 to 130 bits.
//!
//! It runs as the crate's build script: the block has to be Rust that the macros see. `NITRIDE_EXPRESSIONS` in the environment is
//! the seed.
use std::fmt::Write;

const WIDTHS: [usize; 11] = [1, 3, 5, 8, 16, 32, 33, 64, 65, 100, 130];
const OUTPUTS: usize = 240;
/// Blocks of this many outputs, so that rustc has no single enormous function.
const BLOCK: usize = 60;

/// xorshift64*: Marsaglia, Vigna.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }
    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
    fn literal(&mut self, width: usize) -> u64 {
        (self.next() >> 1) & ((1 << width.min(62)) - 1)
    }

    fn bit(&mut self, depth: usize) -> String {
        if depth == 0 {
            return if self.below(2) == 0 {
                "self.flag.val()".into()
            } else {
                format!("word.get_bit({})", self.below(64))
            };
        }
        let d = depth - 1;
        match self.below(8) {
            0..=2 => {
                let width = self.pick(&WIDTHS);
                let relation = self.pick(&["==", "!=", "<", ">", "<=", ">="]);
                let left = self.value(width, d);
                let right =
                    if self.below(3) == 0 { self.literal(width).to_string() } else { self.value(width, d) };
                format!("({left} {relation} {right})")
            }
            3 => format!("(!{})", self.bit(d)),
            4 => {
                let width = self.pick(&WIDTHS);
                let value = self.value(width, d);
                format!("{value}.{}()", self.pick(&["any", "all", "xor"]))
            }
            5 => {
                let width = self.pick(&[8, 16, 64]);
                format!("{}.get_bit(self.i3_0.val().index())", self.value(width, d))
            }
            _ => {
                let (left, right) = (self.bit(d), self.bit(d));
                format!("({left} {} {right})", self.pick(&["&", "|", "^", "&&", "||"]))
            }
        }
    }

    fn value(&mut self, width: usize, depth: usize) -> String {
        if depth == 0 {
            return format!("self.i{width}_{}.val()", self.below(2));
        }
        let d = depth - 1;
        match self.below(16) {
            0..=4 => {
                let operator = self.pick(&["+", "-", "&", "|", "^"]);
                let left = self.value(width, d);
                let right =
                    if self.below(3) == 0 { self.literal(width).to_string() } else { self.value(width, d) };
                format!("({left} {operator} {right})")
            }
            5 | 6 => {
                let operator = self.pick(&["<<", ">>"]);
                let by = if self.below(2) == 0 { self.value(3, d) } else { self.below(width).to_string() };
                format!("({} {operator} {by})", self.value(width, d))
            }
            7 => format!("(!{})", self.value(width, d)),
            8 => {
                let from = self.pick(&WIDTHS);
                format!("bit_cast::<{width}, {from}>({})", self.value(from, d))
            }
            9 => {
                let wider: Vec<_> = WIDTHS.into_iter().filter(|w| *w >= width).collect();
                let from = self.pick(&wider);
                format!("{}.get_bits::<{width}>({})", self.value(from, d), self.below(from))
            }
            10 => format!(
                "(if {} {{ {} }} else {{ {} }})",
                self.bit(d),
                self.value(width, d),
                self.value(width, d)
            ),
            11 => {
                let pairs: Vec<_> = WIDTHS
                    .into_iter()
                    .filter(|a| WIDTHS.iter().any(|b| a + b == width))
                    .map(|a| (a, width - a))
                    .collect();
                if pairs.is_empty() {
                    return self.value(width, d);
                }
                let (a, b) = self.pick(&pairs);
                format!("cat2::<{a}, {b}, {width}>({}, {})", self.value(a, d), self.value(b, d))
            }
            12 => format!("helper::<{width}>({}, {})", self.value(width, d), self.bit(d)),
            13 => {
                let arms = [self.value(width, d), self.value(width, d), self.value(width, d)];
                format!(
                    "(match self.kind.val() {{ Kind::A => {}, Kind::B | Kind::C => {}, _ => {} }})",
                    arms[0], arms[1], arms[2]
                )
            }
            14 => {
                let elements = [self.value(width, d), self.value(width, d)];
                format!("[{}, {}][self.i1_0.val().index()]", elements[0], elements[1])
            }
            _ => format!("{}.replace_bit({}, {})", self.value(width, d), self.below(width), self.bit(d)),
        }
    }
}

fn main() {
    println!("cargo::rerun-if-env-changed=NITRIDE_EXPRESSIONS");
    println!("cargo::rerun-if-changed=tests/language/generator.rs");
    let seed =
        std::env::var("NITRIDE_EXPRESSIONS").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_0001_u64);
    let mut random = Random(seed | 1);
    let mut text = format!("/// The seed of these expressions.\npub const SEED: u64 = {seed};\n");
    for (block, first) in (0..OUTPUTS).step_by(BLOCK).enumerate() {
        let outputs: Vec<_> = (first..first + BLOCK).map(|i| (i, random.pick(&WIDTHS))).collect();
        let _ = writeln!(text, "#[derive(LogicBlock, Default)]\npub struct Random{block} {{");
        text += "    pub flag: Signal<In, Bit>,\n    pub kind: Signal<In, Kind>,\n";
        for width in WIDTHS {
            let _ = writeln!(
                text,
                "    pub i{width}_0: Signal<In, Bits<{width}>>,\n    pub i{width}_1: Signal<In, Bits<{width}>>,"
            );
        }
        for (i, width) in &outputs {
            let _ = writeln!(text, "    pub o{i}: Signal<Out, Bits<{width}>>,");
        }
        let _ =
            writeln!(text, "}}\nimpl Logic for Random{block} {{\n    #[hdl]\n    fn update(&mut self) {{");
        text += "        let word = self.i64_0.val();\n";
        for (i, width) in &outputs {
            let depth = 1 + random.below(4);
            let _ = writeln!(text, "        self.o{i}.next = {};", random.value(*width, depth));
        }
        let _ = writeln!(
            text,
            "    }}\n}}\nimpl Random{block} {{\n    pub fn drive(&mut self, rng: &mut Rng) {{"
        );
        text += "        self.flag.next = rng.bit();\n        self.kind.next = rng.value();\n";
        for width in WIDTHS {
            let _ = writeln!(
                text,
                "        self.i{width}_0.next = rng.bits();\n        self.i{width}_1.next = rng.bits();"
            );
        }
        text += "    }\n}\n";
    }
    let folder = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(std::path::Path::new(&folder).join("random.rs"), text).expect("OUT_DIR can be written");
}
