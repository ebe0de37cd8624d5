/** The server: HTTP, streams, metrics, and the page. */
@NullMarked
package org.eellm.serve;

import org.jspecify.annotations.NullMarked;
