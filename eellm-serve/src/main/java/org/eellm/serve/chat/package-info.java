/** Chat messages and templates. */
@NullMarked
package org.eellm.serve.chat;

import org.jspecify.annotations.NullMarked;
