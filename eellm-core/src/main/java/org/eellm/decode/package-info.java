/** Generation: batches of sequences, the decode step, and the loop that serves requests. */
@NullMarked
package org.eellm.decode;

import org.jspecify.annotations.NullMarked;
