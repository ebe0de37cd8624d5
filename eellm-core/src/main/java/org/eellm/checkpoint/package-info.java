/** Models and training state on disk; atomic writes. */
@NullMarked
package org.eellm.checkpoint;

import org.jspecify.annotations.NullMarked;
