/** Passes of rows through a model whose layers are divided between ranks. */
@NullMarked
package org.eellm.decode.pipeline;

import org.jspecify.annotations.NullMarked;
