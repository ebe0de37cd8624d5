/** The command line: one picocli command a file. */
@NullMarked
package org.eellm.cli;

import org.jspecify.annotations.NullMarked;
