import numpy as np

from precbench.checkpoints.variables import named_variables


def test_a_name_is_the_keras_path_split_into_layer_and_variable(keras):
    entry = keras.Input((4, 4, 2))
    model = keras.Model(entry, keras.layers.Conv2D(3, 2, name="c")(entry))
    kernel, bias = named_variables(model)
    assert (kernel.path, kernel.layer, kernel.variable, kernel.shape) == ("c/kernel", "c", "kernel", (2, 2, 2, 3))
    assert np.array_equal(bias.values(), np.zeros(3))


def test_a_sequential_model_does_not_put_its_own_name_in_front(keras):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="d")], name="whole")
    assert [variable.path for variable in named_variables(model)] == ["d/kernel", "d/bias"]


def test_variables_of_one_path_get_the_names_of_their_models(keras):
    def branch(name):
        entry = keras.Input((4,))
        return keras.Model(entry, keras.layers.Dense(2, name="d")(entry), name=name)

    entry = keras.Input((4,))
    model = keras.Model(entry, keras.layers.Add()([branch("one")(entry), branch("two")(entry)]))
    assert [variable.path for variable in named_variables(model)] == [
        "one/d/kernel",
        "one/d/bias",
        "two/d/kernel",
        "two/d/bias",
    ]


def test_variables_that_nothing_tells_apart_get_numbers(keras):
    class Pair(keras.layers.Layer):
        def build(self, _shape):
            self.first = self.add_weight(shape=(1,), name="w")
            self.second = self.add_weight(shape=(1,), name="w")

        def call(self, value):
            return value * self.first + self.second

    entry = keras.Input((4,))
    paths = [variable.path for variable in named_variables(keras.Model(entry, Pair(name="p")(entry)))]
    assert paths == ["p/w", "p/w_1"]
