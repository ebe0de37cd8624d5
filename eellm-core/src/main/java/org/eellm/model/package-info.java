/** The decoder with early exits as an explicit chain of residual branches. */
@NullMarked
package org.eellm.model;

import org.jspecify.annotations.NullMarked;
