use nitride_lang::prelude::*;

#[derive(LogicBlock, Default)]
struct Uut {
    pub a: Signal<In, Bits<8>>,
    pub b: Signal<In, Bits<9>>,
    pub o: Signal<Out, Bits<8>>,
    pub p: Signal<Out, Bit>,
}

impl Logic for Uut {
    #[hdl]
    fn update(&mut self) {
        if self.a.val().any() {
            return;
        }
        self.o.next = self.a.val();
    }
}

fn main() {}
