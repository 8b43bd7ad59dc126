//! What a proxy does besides CONNECT.

/// Lets what has a [`Hop`](super::hop::Hop) ask for BIND.
macro_rules! binds {
    ($name:ident) => {
        impl<C: crate::session::Connector<crate::session::Request>> $name<C> {
            /// Has the proxy listen for a connection from `peer` (BIND, RFC 1928 section
            /// 4), which is unspecified if it may be anybody.
            ///
            /// # Errors
            ///
            /// If the proxy does not listen. One of HTTP is not asked: 07, command not
            /// supported.
            pub async fn bind(
                &self,
                peer: socks_core::Target,
            ) -> Result<super::UpstreamBind<C::Io>, super::UpstreamError> {
                super::UpstreamBind::ask(self.hop.clone(), peer).await
            }
        }
    };
}
pub(super) use binds;

/// Lets what has a [`Hop`](super::hop::Hop) ask for UDP ASSOCIATE.
macro_rules! associates {
    ($name:ident) => {
        impl<C: crate::session::Connector<crate::session::Request>> $name<C> {
            /// Has the proxy relay datagrams (UDP ASSOCIATE, RFC 1928 section 7), which go
            /// to it directly, past whatever proxies `C` leads through.
            ///
            /// # Errors
            ///
            /// If the proxy does not relay them, or there is no socket. One of SOCKS4 or
            /// HTTP is not asked: 07, command not supported.
            pub async fn associate(
                &self,
            ) -> Result<super::UpstreamUdp<C::Io>, super::UpstreamError> {
                super::UpstreamUdp::ask(self.hop.clone()).await
            }
        }
    };
}
pub(super) use associates;
