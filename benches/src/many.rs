//! Our calls over TCP to a server of 1,024 methods in four services, to see what methods cost those that
//! aren't called.

use std::io;
use std::net::SocketAddr;

use rpc_core::{Channel, Server};
use rpc_transport_tcp as tcp;

use crate::harness::{Adds, Target};

struct Plain;

/// A service of one method that adds, and one for each name beside it.
macro_rules! service {
    ($service:ident: $($name:ident)*) => {
        #[rpc_core::service]
        trait $service {
            async fn add(&self, a: u64, b: u64) -> u64;
            $(async fn $name(&self, a: u64) -> u64;)*
        }

        impl $service for Plain {
            async fn add(&self, a: u64, b: u64) -> u64 {
                a.wrapping_add(b)
            }
            $(async fn $name(&self, a: u64) -> u64 {
                a
            })*
        }
    };
}

/// A service of 256 methods.
#[rustfmt::skip]
macro_rules! large_service {
    ($service:ident) => { service! { $service:
    m01 m02 m03 m04 m05 m06 m07 m08 m09 m0a m0b m0c m0d m0e m0f
    m10 m11 m12 m13 m14 m15 m16 m17 m18 m19 m1a m1b m1c m1d m1e
    m1f m20 m21 m22 m23 m24 m25 m26 m27 m28 m29 m2a m2b m2c m2d
    m2e m2f m30 m31 m32 m33 m34 m35 m36 m37 m38 m39 m3a m3b m3c
    m3d m3e m3f m40 m41 m42 m43 m44 m45 m46 m47 m48 m49 m4a m4b
    m4c m4d m4e m4f m50 m51 m52 m53 m54 m55 m56 m57 m58 m59 m5a
    m5b m5c m5d m5e m5f m60 m61 m62 m63 m64 m65 m66 m67 m68 m69
    m6a m6b m6c m6d m6e m6f m70 m71 m72 m73 m74 m75 m76 m77 m78
    m79 m7a m7b m7c m7d m7e m7f m80 m81 m82 m83 m84 m85 m86 m87
    m88 m89 m8a m8b m8c m8d m8e m8f m90 m91 m92 m93 m94 m95 m96
    m97 m98 m99 m9a m9b m9c m9d m9e m9f ma0 ma1 ma2 ma3 ma4 ma5
    ma6 ma7 ma8 ma9 maa mab mac mad mae maf mb0 mb1 mb2 mb3 mb4
    mb5 mb6 mb7 mb8 mb9 mba mbb mbc mbd mbe mbf mc0 mc1 mc2 mc3
    mc4 mc5 mc6 mc7 mc8 mc9 mca mcb mcc mcd mce mcf md0 md1 md2
    md3 md4 md5 md6 md7 md8 md9 mda mdb mdc mdd mde mdf me0 me1
    me2 me3 me4 me5 me6 me7 me8 me9 mea meb mec med mee mef mf0
    mf1 mf2 mf3 mf4 mf5 mf6 mf7 mf8 mf9 mfa mfb mfc mfd mfe mff
    } };
}

large_service!(First);
large_service!(Second);
large_service!(Third);
large_service!(Fourth);

/// Starts the server on the current runtime; returns the address it is bound to.
pub(crate) async fn serve(addr: SocketAddr) -> io::Result<SocketAddr> {
    let listener = tcp::listen(addr).await?;
    let addr = listener.local_addr();
    let mut server = Server::builder()
        .service(FirstServer::new(Plain))
        .service(SecondServer::new(Plain))
        .service(ThirdServer::new(Plain))
        .service(FourthServer::new(Plain))
        .listen(listener)
        .start()
        .map_err(io::Error::other)?;
    tokio::spawn(async move { server.wait().await });
    Ok(addr)
}

#[derive(Clone)]
pub(crate) struct Client(ThirdClient);

impl Target for Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let channel = Channel::connect(tcp::connector(addr)).await.map_err(io::Error::other)?;
        Ok(Self(ThirdClient::new(channel)))
    }
}

impl Adds for Client {
    async fn add(&self, a: u64, b: u64) -> u64 {
        match self.0.add(a, b).await {
            Ok(sum) => sum,
            Err(error) => panic!("{error}"),
        }
    }
}
