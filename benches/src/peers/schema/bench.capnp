# What capnp-rpc is compared by: a sum, and the echo of a payload. `bench_capnp.rs` is made of it:
# capnp compile -orust bench.capnp
# with the tool capnp, and capnpc-rust of the crate capnpc. Neither is needed to build.
@0xb5c7f3a1d2e48f60;

# Where the generated code is; the annotation is that of capnpc's rust.capnp.
annotation parentModule @0xabee386cd1450364 (file) :Text;
$parentModule("peers::capnp");

interface Bench {
  add @0 (a :UInt64, b :UInt64) -> (sum :UInt64);
  echo @1 (payload :Data) -> (payload :Data);
}
