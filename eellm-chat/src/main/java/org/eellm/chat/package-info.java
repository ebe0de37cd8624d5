/** Chat messages and templates. */
@NullMarked
package org.eellm.chat;

import org.jspecify.annotations.NullMarked;
