/** Which of the runners takes rows through a model. */
@NullMarked
package org.eellm.decode.backend;

import org.jspecify.annotations.NullMarked;
