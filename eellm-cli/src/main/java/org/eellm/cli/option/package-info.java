/** Options that several commands share. */
@NullMarked
package org.eellm.cli.option;

import org.jspecify.annotations.NullMarked;
