//! What the emitter refuses, and what it says.
use nitride_lang::emit::{Fault, verilog};
use nitride_lang::prelude::*;

/// The fault, after a look at the module and the line that the error names.
fn refused(block: &dyn Block, module: &str) -> Fault {
    let error = verilog(block, "top").expect_err("a design that cannot be built");
    assert!(error.module.starts_with(module), "{error}");
    assert!(error.location.file.ends_with("refusals.rs") && error.location.line > 0, "{error}");
    assert!(!error.to_string().contains('\n'));
    error.fault
}

/// A block with these fields and this kernel.
macro_rules! block {
    ($name:ident { $($field:ident: $ty:ty),* } |$this:ident| $body:block) => {
        #[derive(LogicBlock, Default)]
        struct $name { $(pub $field: $ty),* }
        impl Logic for $name {
            #[hdl]
            fn update(&mut $this) $body
        }
    };
}

block!(Follow { i: Signal<In, Bit>, o: Signal<Out, Bit> } |self| { self.o.next = self.i.val(); });

#[test]
fn undriven_output() {
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Bit>, p: Signal<Out, Bit> } |self| { self.o.next = self.i.val(); });
    assert_eq!(refused(&Uut::default(), "top [Uut]"), Fault::Undriven("p".into()));
}

#[test]
fn undriven_input_of_a_sub_block() {
    block!(Uut { o: Signal<Out, Bit>, sub: Follow } |self| { self.o.next = self.sub.o.val(); });
    assert_eq!(refused(&Uut::default(), "top"), Fault::Undriven("sub$i".into()));
}

#[test]
fn undriven_bits() {
    #[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
    struct Two {
        a: Bit,
        b: Bit,
    }
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Two> } |self| { self.o.next.b = self.i.val(); });
    assert_eq!(refused(&Uut::default(), "top"), Fault::PartlyUndriven("o".into()));
}

#[test]
fn assigned_input() {
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Bit> } |self| {
        self.o.next = self.i.val();
        self.i.next = true;
    });
    assert!(matches!(refused(&Uut::default(), "top"), Fault::MultiplyDriven(name, _) if name == "i"));
}

#[test]
fn output_of_a_sub_block_driven_twice() {
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Bit>, sub: Follow } |self| {
        self.sub.i.next = self.i.val();
        self.sub.o.next = self.i.val();
        self.o.next = self.sub.o.val();
    });
    assert!(matches!(refused(&Uut::default(), "top"), Fault::MultiplyDriven(name, _) if name == "sub$o"));
}

#[test]
fn latch() {
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Bit> } |self| {
        if self.i.val() {
            self.o.next = true;
        }
    });
    assert_eq!(refused(&Uut::default(), "top"), Fault::Latch("o".into()));
}

#[test]
fn latch_in_a_match() {
    block!(Uut { i: Signal<In, Bits<2>>, o: Signal<Out, Bit> } |self| {
        match self.i.val().index() {
            0 => self.o.next = true,
            1 => self.o.next = false,
            _ => {}
        }
    });
    assert_eq!(refused(&Uut::default(), "top"), Fault::Latch("o".into()));
}

#[test]
fn loop_in_a_module() {
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Bit>, a: Signal<Local, Bit>, b: Signal<Local, Bit> } |self| {
        self.a.next = self.b.val() ^ self.i.val();
        self.b.next = !self.a.val();
        self.o.next = self.a.val();
    });
    assert!(
        matches!(refused(&Uut::default(), "top"), Fault::Loop(path) if path.len() > 1 && path.first() == path.last())
    );
}

#[test]
fn loop_across_modules() {
    block!(Inner { i: Signal<In, Bit>, o: Signal<Out, Bit>, follow: Follow } |self| {
        self.follow.i.next = !self.i.val();
        self.o.next = self.follow.o.val();
    });
    block!(Uut { o: Signal<Out, Bit>, x: Inner, y: Follow } |self| {
        self.x.i.next = self.y.o.val();
        self.y.i.next = self.x.o.val();
        self.o.next = self.x.o.val();
    });
    let Fault::Loop(path) = refused(&Uut::default(), "top") else { panic!("a loop") };
    assert!(["x$i", "x$o", "y$i", "y$o"].iter().all(|name| path.iter().any(|p| p == name)), "{path:?}");
}

#[test]
fn a_register_breaks_a_loop() {
    block!(Uut { clock: Signal<In, Clock>, o: Signal<Out, Bit>, r: Reg<Bit>, f: Follow } |self| {
        self.f.i.next = self.r.q.val();
        self.r.d.next = !self.f.o.val();
        self.o.next = self.f.o.val();
    });
    verilog(&Uut::default(), "top").expect("a sound design");
}

#[test]
fn outputs_of_one_block_that_depend_on_different_inputs_are_no_loop() {
    block!(Cross { a: Signal<In, Bit>, b: Signal<In, Bit>, x: Signal<Out, Bit>, y: Signal<Out, Bit> } |self| {
        self.x.next = self.a.val();
        self.y.next = self.b.val();
    });
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Bit>, c: Cross } |self| {
        self.c.a.next = self.i.val();
        self.c.b.next = self.c.x.val();
        self.o.next = self.c.y.val();
    });
    verilog(&Uut::default(), "top").expect("a sound design");
}

#[test]
fn keyword_of_verilog() {
    block!(Uut { i: Signal<In, Bit>, output: Signal<Out, Bit> } |self| { self.output.next = self.i.val(); });
    assert_eq!(refused(&Uut::default(), "top"), Fault::Keyword("output".into()));
}

#[test]
fn keyword_of_systemverilog() {
    block!(Uut { priority: Signal<In, Bit>, o: Signal<Out, Bit> } |self| { self.o.next = self.priority.val(); });
    assert_eq!(refused(&Uut::default(), "top"), Fault::Keyword("priority".into()));
}

#[test]
fn a_let_may_have_any_name() {
    block!(Uut { i: Signal<In, Bits<4>>, o: Signal<Out, Bits<4>> } |self| {
        let wire = self.i.val() + 1;
        let o = wire + 1;
        self.o.next = o ^ wire;
    });
    let text = verilog(&Uut::default(), "top").expect("a sound design").text;
    assert!(text.contains("wire_1") && text.contains("o_1"), "{text}");
}

#[test]
fn read_inside_of_a_sub_block() {
    block!(Outer { i: Signal<In, Bit>, o: Signal<Out, Bit>, deep: Follow } |self| {
        self.deep.i.next = self.i.val();
        self.o.next = self.deep.o.val();
    });
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Bit>, sub: Outer } |self| {
        self.sub.i.next = self.i.val();
        self.o.next = self.sub.deep.o.val();
    });
    assert!(matches!(refused(&Uut::default(), "top"), Fault::UndeclaredRead(_)));
}

#[test]
fn assignment_inside_of_a_sub_block() {
    block!(Outer { o: Signal<Out, Bit>, deep: Follow } |self| { self.o.next = self.deep.o.val(); });
    block!(Uut { i: Signal<In, Bit>, o: Signal<Out, Bit>, sub: Outer } |self| {
        self.sub.deep.i.next = self.i.val();
        self.o.next = self.sub.o.val();
    });
    assert_eq!(refused(&Uut::default(), "top"), Fault::UndeclaredWrite);
}

#[test]
fn cloned_signal() {
    block!(Uut { i: [Signal<In, Bit>; 2], o: Signal<Out, Bit> } |self| { self.o.next = self.i[0].val() & self.i[1].val(); });
    let mut uut = Uut::default();
    uut.i[1] = uut.i[0].clone();
    assert_eq!(refused(&uut, "top"), Fault::Copied("i$1".into()));
}

#[test]
fn gated_clock() {
    block!(Uut { clock: Signal<In, Clock>, i: Signal<In, Bit>, o: Signal<Out, Bit>, r: Reg<Bit>, second: Signal<In, Clock> } |self| {
        self.r.clock.next = if self.i.val() { self.clock.val() } else { self.second.val() };
        self.r.d.next = self.i.val();
        self.o.next = self.r.q.val();
    });
    assert_eq!(refused(&Uut::default(), "top"), Fault::GatedClock("r$clock".into()));
}

#[test]
fn block_without_a_kernel() {
    #[derive(LogicBlock, Default)]
    struct Uut {
        pub o: Signal<Out, Bit>,
    }
    impl Logic for Uut {
        fn update(&mut self) {
            self.o.next = true;
        }
    }
    let error = verilog(&Uut::default(), "top").expect_err("no kernel");
    assert_eq!(error.fault, Fault::NoKernel);
}

#[test]
fn value_of_another_width() {
    use nitride_lang::ast::{Body, Drive, Kernel, Literal, Location, Node, Op};
    // The types make it impossible in a kernel; a hand-written description can still get it wrong.
    #[derive(LogicBlock, Default)]
    struct Uut {
        pub o: Signal<Out, Bits<4>>,
    }
    impl Logic for Uut {
        fn update(&mut self) {}
        fn hdl(&self) -> Verilog {
            let location = Location { file: file!(), line: line!() };
            let mut kernel = Kernel { location, type_name: "Uut".into(), ..Default::default() };
            kernel.nodes.push(Node { width: 3, op: Op::Constant(Literal::zero(3)), serial: 0 });
            kernel.drives.insert(Atom::id(&self.o), Drive { value: 0, locations: vec![location] });
            Body::Kernel(kernel).hand_over()
        }
    }
    assert_eq!(refused(&Uut::default(), "top"), Fault::Width { signal: "o".into(), expected: 4, found: 3 });
}
