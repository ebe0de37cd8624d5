/** Clients' connections: bounds in number and in time, and clients that speak HTTP/1.0. */
@NullMarked
package org.eellm.serve.connection;

import org.jspecify.annotations.NullMarked;
