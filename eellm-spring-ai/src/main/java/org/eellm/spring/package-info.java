/**
 * Early-exit models as chat and embedding models of Spring AI, in the process of the application.
 *
 * <p>With Spring Boot, {@code eellm.model} names a model, and everything else follows ({@link
 * org.eellm.spring.EellmProperties}). Without it, they are made from a model that is closed by
 * whoever has loaded it:
 *
 * <pre>{@code
 * ChatModel chat = new EarlyExitChatModel(model, Decoding.lossless());
 * }</pre>
 */
@NullMarked
package org.eellm.spring;

import org.jspecify.annotations.NullMarked;
