/** Key/value cache, exit policies, decoders, sampling and batches. */
@NullMarked
package org.eellm.generate;

import org.jspecify.annotations.NullMarked;
