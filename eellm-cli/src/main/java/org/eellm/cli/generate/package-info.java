/** The generate, chat and serve commands. */
@NullMarked
package org.eellm.cli.generate;

import org.jspecify.annotations.NullMarked;
