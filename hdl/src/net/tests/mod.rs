mod registers;
mod share;
