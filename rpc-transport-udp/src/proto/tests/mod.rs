//! Tests of the whole protocol in virtual time: a world of a server and its clients, and who attacks
//! them; the tests of single parts lie beside those.

mod craft;
mod exchange;
mod fuzz;
mod hostile;
mod paths;
mod servers;
mod sim;
mod world;
