/** Tools that a model may call, and how calls stand in its texts. */
@NullMarked
package org.eellm.chat.tool;

import org.jspecify.annotations.NullMarked;
