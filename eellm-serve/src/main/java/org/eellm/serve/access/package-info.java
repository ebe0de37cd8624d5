/** Who may ask: keys, and the names under which browsers reach the server. */
@NullMarked
package org.eellm.serve.access;

import org.jspecify.annotations.NullMarked;
