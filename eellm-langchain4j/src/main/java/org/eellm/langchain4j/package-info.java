/**
 * Early-exit models as chat and embedding models of LangChain4j.
 *
 * <pre>{@code
 * try (EarlyExitModel model = EarlyExitModel.load(Path.of("runs/mine"))) {
 *   ChatModel chat = new EarlyExitChatModel(model, Decoding.lossless());
 *   String answer = chat.chat("How are you?");
 * }
 * }</pre>
 *
 * <p>They borrow the model: close it when nobody uses them any more.
 */
@NullMarked
package org.eellm.langchain4j;

import org.jspecify.annotations.NullMarked;
