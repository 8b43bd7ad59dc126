mod gssapi;
