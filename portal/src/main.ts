import './app.css';
import { mount } from 'svelte';
import App from './App.svelte';

const target = document.getElementById('portal');
if (target) {
  target.replaceChildren();
  mount(App, { target });
}
