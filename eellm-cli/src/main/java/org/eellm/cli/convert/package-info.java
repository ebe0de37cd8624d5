/** The convert, export, inspect and add-exits commands. */
@NullMarked
package org.eellm.cli.convert;

import org.jspecify.annotations.NullMarked;
