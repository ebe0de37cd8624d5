/** Requests, how they are decoded, and how their results come back. */
@NullMarked
package org.eellm.decode.request;

import org.jspecify.annotations.NullMarked;
