"""Exact gradients of a large batch from micro-batches that fit a device.

An objective that couples the whole batch, as MEC does, cannot be accumulated
over parts of it. It can be differentiated in two passes, exactly: embeddings of
all parts, without gradient; the objective's gradient with respect to them;
then, part by part and view by view, the embeddings once more, through which
that gradient travels back. Memory grows with one view of a part; of the whole
batch only its uint8 views and its embeddings are held. The price is one more
forward pass.

Source: Gao et al., 2021, "Scaling Deep Contrastive Learning Batch Size under
Memory Limited Setup" (GradCache), https://arxiv.org/abs/2101.06983.
"""

import tensorflow as tf

from mec_tf.errors import UserError


def count(micro_batch_size, *, batch_size, replicas):
    """The number of micro-batches per replica and step.

    Args:
        micro_batch_size: Images per micro-batch, over all replicas; None or 0:
            the whole batch at once.
        batch_size: Images per step, over all replicas.
        replicas: How many replicas share a batch.

    Returns:
        int, at least 1.

    Raises:
        UserError: If micro-batches do not divide the batch or replicas do not
            divide micro-batches.
    """
    if not micro_batch_size:
        return 1
    if batch_size % micro_batch_size or micro_batch_size % replicas:
        raise UserError(
            f"`micro_batch_size`={micro_batch_size} is over all devices, as is"
            f" `batch_size`={batch_size}; expected a divisor of the batch that"
            f" is a multiple of the {replicas} devices: give another one"
        )
    return batch_size // micro_batch_size


def loss_and_gradients(
    batch,
    *,
    parts,
    augment,
    embed,
    embed_online,
    signature,
    compare,
    learned,
    state,
):
    """Loss and gradients of the whole batch, computed in parts.

    Layers in training mode see one part at a time, so batch norm's statistics
    are those of a micro-batch. What the first pass does to the state of the
    online network is undone before the second, which therefore repeats it to
    the bit (dropout too), and moves the running statistics once.

    Args:
        batch: Nested structure of tensors `[n, ...]`, n divisible by `parts`.
        parts: Number of micro-batches.
        augment: Function of a part of the batch; returns the list of its views.
        embed: Function of these views; returns two lists of embeddings
            `[n / parts, d]`: those that learn, one per view, and those that are
            held.
        embed_online: Function of one view; returns its embeddings that learn,
            for the second pass.
        signature: Nested `tf.TensorSpec` of what `embed` returns.
        compare: Function of both lists for the whole batch, `[n, d]` each, that
            returns the loss, a scalar, and a structure to pass on.
        learned: List of variables.
        state: List of the variables that `embed_online` moves.

    Returns:
        (passed, gradients): what `compare` returned beside the loss, and the
        gradient of the loss, one tensor per variable learned.
    """
    batch = tf.nest.map_structure(lambda rows: _cut(rows, parts), batch)
    before = [tf.convert_to_tensor(variable) for variable in state]
    online, targets = _each(lambda part: embed(augment(part)), batch, signature)
    whole = [_join(rows) for rows in online]
    with tf.GradientTape() as tape:
        tape.watch(whole)
        loss, passed = compare(whole, [_join(rows) for rows in targets])
    upstream = [_cut(rows, parts) for rows in tape.gradient(loss, whole)]
    # After the first pass, which reads and writes them.
    for variable, value in zip(state, before, strict=True):
        variable.assign(value)

    def gradients_of_part(part):
        part, upstream = part
        total = []
        for view, upstream_of_view in zip(augment(part), upstream, strict=True):
            with tf.control_dependencies(total):  # one view at a time
                view = tf.identity(view)
            with tf.GradientTape() as tape:
                online = embed_online(view)
            gradients = tape.gradient(
                online, learned, output_gradients=upstream_of_view
            )
            total = _added(total, gradients) if total else gradients
        return total

    gradients = _sum(gradients_of_part, (batch, upstream), learned)
    return passed, gradients


def _cut(rows, parts):
    """`[n, ...]` -> `[parts, n / parts, ...]`."""
    return tf.reshape(rows, [parts, -1, *rows.shape[1:]])


def _join(rows):
    """`[parts, n / parts, ...]` -> `[n, ...]`."""
    return tf.reshape(rows, [-1, *rows.shape[2:]])


def _part(batch, k):
    """Part k of a nested structure of `[parts, n / parts, ...]`."""
    return tf.nest.map_structure(lambda rows: rows[k], batch)


def _parts(batch):
    return tf.nest.flatten(batch)[0].shape[0]


def _added(tensors, others):
    return [t + o for t, o in zip(tensors, others, strict=True)]


def _each(function, batch, signature):
    """The function's outputs for every part, stacked."""
    if _several_replicas():
        outputs = _in_turns(function, batch)
        return tf.nest.map_structure(lambda *rows: tf.stack(rows), *outputs)
    # Over numbers: a loop over the parts themselves would begin by a copy.
    return tf.map_fn(
        lambda k: function(_part(batch, k)),
        tf.range(_parts(batch)),
        fn_output_signature=signature,
        parallel_iterations=1,
    )


def _sum(function, batch, like):
    """The sum of the function's outputs, tensors like those of `like`."""
    total = [tf.zeros_like(tensor) for tensor in like]
    if _several_replicas():
        for output in _in_turns(function, batch):
            total = _added(total, output)
        return total
    return tf.foldl(
        lambda total, k: _added(total, function(_part(batch, k))),
        tf.range(_parts(batch)),
        total,
        parallel_iterations=1,
    )


def _several_replicas():
    replica = tf.distribute.get_replica_context()
    return replica is not None and replica.num_replicas_in_sync > 1


def _in_turns(function, batch):
    """Unrolls the loop: a loop's body may not speak with other replicas.

    Each part waits for the one before, or all would be in memory together.
    """
    outputs = []
    for k in range(_parts(batch)):
        with tf.control_dependencies(tf.nest.flatten(outputs[-1:])):
            part = _part(batch, k)
        outputs.append(function(part))
    return outputs
