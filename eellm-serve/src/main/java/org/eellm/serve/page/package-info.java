/** The files of the page in the browser. */
@NullMarked
package org.eellm.serve.page;

import org.jspecify.annotations.NullMarked;
