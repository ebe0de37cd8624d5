/**
 * Early-exit language models in a program: load one, generate text, read off where each token left,
 * and train one's own.
 *
 * <pre>{@code
 * try (EarlyExitModel model = EarlyExitModel.load(Path.of("runs/mine"))) {
 *   for (Token token : model.generate("Once upon", Decoding.lossless())) {
 *     System.out.print(token.text());
 *   }
 * }
 * }</pre>
 *
 * <p>{@link org.eellm.EarlyExitModel} owns a model, its tokenizer and an engine with a thread of
 * its own. It may be shared: texts of all callers are written in one batch. {@link
 * org.eellm.Decoding} says how a text is written, {@link org.eellm.Generation} is one on its way,
 * and {@link org.eellm.Completion} what it came to. {@link org.eellm.TrainingRun} trains.
 *
 * <p>Java needs {@code --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED};
 * {@link org.eellm.JvmSetup} checks it. Where machine code does all of decoding, decoding does
 * without the module. On a CPU it needs no libtorch; training, and GPUs, need the artifact {@code
 * org.eellm:eellm-libtorch}.
 */
@NullMarked
package org.eellm;

import org.jspecify.annotations.NullMarked;
